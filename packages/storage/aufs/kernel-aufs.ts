/**
 * Unions by the kernel's own AUFS, which some distributions' kernels have: mounted and taken away by this process, there is no
 * program.
 *
 * mount(2) takes one page of options: branches that do not fit are appended by mounting anew.
 */
import { execFile } from "node:child_process";
import { BerthError } from "#errors/errors.ts";
import { MNT_DETACH, MS_REMOUNT, mount, umount2 } from "#kernel/mount-syscalls.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { UnionListed, UnionMount, Unions } from "#storage/union/union-types.ts";

/** What mount(2) copies, the NUL at the end included; asm/page.h of the architectures we have. */
const pageSize = 4096;

/** Where Docker's driver keeps the table of inode numbers: on a file system that need not outlive the machine. */
const inodeTable = "/dev/shm/aufs.xino";

/**
 * Options of mount(2), one text for each call: the first mounts, those after it append branches. `dirperm1`: rights of a
 * directory are the upper one's alone. Throws "invalid" for a path that AUFS could not tell from its own separators.
 */
export function aufsMountData(
  branches: UnionMount["branches"],
  { dirperm1, limit = pageSize - 1 }: { dirperm1: boolean; limit?: number },
): string[] {
  const rest = `,dio,xino=${inodeTable}${dirperm1 ? ",dirperm1" : ""}`;
  const texts: string[] = [];
  let text = "br";
  let room = limit - rest.length;
  for (const { path, writable } of branches) {
    if (/[:,=\\]/.test(path)) throw unfit(path);
    // "+wh": marks of layers that are only read count, too.
    const branch = `${path}=${writable ? "rw" : "ro+wh"}`;
    const first = texts.length === 0;
    const part = first ? `:${branch}` : `${text === "" ? "" : ","}append:${branch}`;
    if (Buffer.byteLength(text + part) <= room) {
      text += part;
      continue;
    }
    texts.push(first ? text + rest : text);
    text = `append:${branch}`;
    room = limit;
  }
  texts.push(texts.length === 0 ? text + rest : text);
  return texts;
}

function unfit(path: string): BerthError {
  return new BerthError(
    "invalid",
    `AUFS cannot mount ${JSON.stringify(path)}: its options have no such names`,
    {
      operation: "mount union",
      object: path,
      hint: "Choose a data root without colons, commas, equals signs and backslashes.",
    },
  );
}

export class KernelAufs implements Unions {
  readonly #dirperm1: boolean;

  constructor(dirperm1: boolean) {
    this.#dirperm1 = dirperm1;
  }

  async mount({ mountPoint, branches }: UnionMount): Promise<void> {
    if (aufsMounts().includes(mountPoint)) return;
    const [first = "", ...more] = aufsMountData(branches, { dirperm1: this.#dirperm1 });
    mount("none", mountPoint, "aufs", 0, first);
    try {
      for (const data of more) mount("none", mountPoint, "aufs", MS_REMOUNT, data);
    } catch (error) {
      umount2(mountPoint, MNT_DETACH);
      throw error;
    }
  }

  async unmount(mountPoint: string): Promise<void> {
    await flushLinks(mountPoint);
    try {
      umount2(mountPoint, MNT_DETACH);
    } catch (error) {
      if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
    }
  }

  async list(): Promise<UnionListed[]> {
    return aufsMounts().map((mountPoint) => ({ mountPoint, branches: [], nodes: 0 }));
  }

  close(): void {}
}

/**
 * Makes real links of what AUFS only knows to be one file; in its mount alone they are. By aufs-tools' program: without it, names
 * that were not used in this mount show what they showed before.
 */
async function flushLinks(mountPoint: string): Promise<void> {
  if (!aufsMounts().includes(mountPoint)) return;
  await new Promise<void>((resolve) => {
    execFile("auplink", [mountPoint, "flush"], () => resolve());
  });
}

function aufsMounts(): string[] {
  return readMountInfo()
    .filter(({ fsType }) => fsType === "aufs")
    .map(({ mountPoint }) => mountPoint);
}
