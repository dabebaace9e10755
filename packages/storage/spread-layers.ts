/**
 * Where on the disk layers go.
 *
 * ext4 does not use an inode again for minutes after it was deleted, yet looks at each such inode, one by one, whenever it
 * makes a file in their block group: where a layer of some thousand files was just removed, every new file takes a
 * millisecond instead of ten microseconds. So each layer gets a block group of its own, and one where making files is quick.
 * Other file systems have no such trouble and need none of this.
 */
import { randomUUID } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstatat, mkdirat, renameat2, unlinkat } from "#kernel/file-syscalls.ts";
import { FS_TOPDIR_FL, getInodeFlags, setInodeFlags } from "#kernel/inode-flags.ts";
import {
  AT_REMOVEDIR,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
} from "#kernel/syscalls.ts";

/** Making a file takes no longer than this, in ms, where nothing was deleted lately; a busy processor may add to it. */
const quick = 0.06;
/** Places looked at, at most; the best is taken. */
const attempts = 8;

/**
 * Tells ext4 to place each directory made in `home` in a block group of its own, as it does with users' home directories.
 * False on file systems that have no such flag.
 */
export function spreadLayers(home: string): boolean {
  using directory = new FileDescriptor(open(home, O_RDONLY | O_DIRECTORY));
  const flags = getInodeFlags(directory.number);
  if (flags === undefined) return false;
  return (flags & FS_TOPDIR_FL) !== 0 || setInodeFlags(directory.number, flags | FS_TOPDIR_FL);
}

/**
 * Makes the directory `name` in `home` for a layer of many files; `spread` is what `spreadLayers` answered there. The event
 * loop gets its turn between the places that are looked at.
 */
export async function makeLayerDirectory(
  home: string,
  name: string,
  mode: number,
  spread: boolean,
): Promise<void> {
  using directory = new FileDescriptor(open(home, O_RDONLY | O_DIRECTORY));
  const parent = directory.number;
  mkdirat(parent, name, mode);
  if (!spread) return;
  let best = judgePlace(parent, name);
  for (let attempt = 1; !isGood(best) && attempt < attempts; attempt++) {
    await turn();
    // Another name is another place.
    const other = `.new-${randomUUID()}`;
    mkdirat(parent, other, mode);
    const place = judgePlace(parent, other);
    if (isBetter(place, best)) {
      best = place;
      unlinkat(parent, name, AT_REMOVEDIR);
      renameat2(parent, other, parent, name);
    } else {
      unlinkat(parent, other, AT_REMOVEDIR);
    }
  }
}

interface Place {
  /** New files and directories got inodes that follow each other: none in between was skipped. */
  consecutive: boolean;
  /** How long making a file took, ms. */
  time: number;
}

function isGood({ consecutive, time }: Place): boolean {
  return consecutive && time <= quick;
}

function isBetter(one: Place, other: Place): boolean {
  return one.consecutive === other.consecutive ? one.time < other.time : one.consecutive;
}

/** Makes a file and a directory in an empty directory, and takes them away again. */
function judgePlace(parent: number, name: string): Place {
  const [file, below] = [`${name}/file`, `${name}/directory`];
  const start = performance.now();
  const fd = openat(parent, file, O_WRONLY | O_CREAT | O_EXCL, 0o600);
  const time = performance.now() - start;
  new FileDescriptor(fd).close();
  mkdirat(parent, below, 0o700);
  const [first, second, third] = [name, file, below].map((path) => fstatat(parent, path).inode);
  unlinkat(parent, file);
  unlinkat(parent, below, AT_REMOVEDIR);
  return { consecutive: second === (first ?? 0n) + 1n && third === (second ?? 0n) + 1n, time };
}
