/** mount(8)'s comma-separated options as the flags and data of mount(2). Pure. Values: linux/mount.h. */

const FLAGS: Record<string, { set?: number; clear?: number }> = {
  ro: { set: 1 },
  rw: { clear: 1 },
  nosuid: { set: 2 },
  suid: { clear: 2 },
  nodev: { set: 4 },
  dev: { clear: 4 },
  noexec: { set: 8 },
  exec: { clear: 8 },
  sync: { set: 16 },
  async: { clear: 16 },
  dirsync: { set: 128 },
  noatime: { set: 1024 },
  atime: { clear: 1024 },
  nodiratime: { set: 2048 },
  diratime: { clear: 2048 },
  bind: { set: 4096 },
  rbind: { set: 4096 | 16384 },
  relatime: { set: 1 << 21 },
  norelatime: { clear: 1 << 21 },
  strictatime: { set: 1 << 24 },
  defaults: {},
};

export function parseMountOptions(text: string): { flags: number; data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const option of text.split(",").filter(Boolean)) {
    const known = FLAGS[option];
    if (known === undefined) data.push(option);
    else flags = (flags | (known.set ?? 0)) & ~(known.clear ?? 0);
  }
  return { flags, data: data.join(",") };
}
