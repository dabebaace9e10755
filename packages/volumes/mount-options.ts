/** mount(8)'s comma-separated options as the flags and data of mount(2). Pure. Values: linux/mount.h. */

export const MS = {
  RDONLY: 1,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16_384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;

const FLAGS: Record<string, { set?: number; clear?: number }> = {
  ro: { set: MS.RDONLY },
  rw: { clear: MS.RDONLY },
  nosuid: { set: 2 },
  suid: { clear: 2 },
  nodev: { set: 4 },
  dev: { clear: 4 },
  noexec: { set: 8 },
  exec: { clear: 8 },
  sync: { set: 16 },
  async: { clear: 16 },
  remount: { set: MS.REMOUNT },
  mand: { set: 64 },
  nomand: { clear: 64 },
  dirsync: { set: 128 },
  noatime: { set: 1024 },
  atime: { clear: 1024 },
  nodiratime: { set: 2048 },
  diratime: { clear: 2048 },
  bind: { set: MS.BIND },
  rbind: { set: MS.BIND | MS.REC },
  relatime: { set: 1 << 21 },
  norelatime: { clear: 1 << 21 },
  strictatime: { set: 1 << 24 },
  nostrictatime: { clear: 1 << 24 },
  defaults: {},
};

const PROPAGATIONS: Record<string, number> = {
  unbindable: MS.UNBINDABLE,
  private: MS.PRIVATE,
  slave: MS.SLAVE,
  shared: MS.SHARED,
};

export interface LocalMountOptions {
  flags: number;
  data: string;
  /** Flags of a second call that changes the propagation; 0 for none. */
  propagation: number;
}

/** A later word overrules an earlier one; what isn't known here is for the file system. */
export function parseMountOptions(text: string): LocalMountOptions {
  let flags = 0;
  let propagation = 0;
  const data: string[] = [];
  for (const option of text.split(",").filter(Boolean)) {
    const known = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
    const recursive = option.startsWith("r") && Object.hasOwn(PROPAGATIONS, option.slice(1));
    const kind = recursive ? option.slice(1) : option;
    if (known !== undefined) flags = (flags | (known.set ?? 0)) & ~(known.clear ?? 0);
    else if (Object.hasOwn(PROPAGATIONS, kind))
      propagation = (PROPAGATIONS[kind] ?? 0) | (recursive ? MS.REC : 0);
    else data.push(option);
  }
  return { flags, data: data.join(","), propagation };
}
