/**
 * How many bytes a tree holds, walked by descriptors: no symbolic link is followed, no other file system entered, and
 * the number of open descriptors stays bounded however deep the tree is.
 *
 * Counted as Docker counts: the length of every file and symbolic link, of one with several names once; directories
 * and devices are nothing. What comes and goes during the walk may or may not be counted. Blocking: for worker threads.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstat, fstatatIfExists, listDirectory, S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  tryOpenat,
  tryOpenat2,
} from "#kernel/syscalls.ts";

/** Levels whose descriptors are kept; those between are opened again, by "..", on the way back. */
const keptOpen = 64;

const directoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
const stayInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
/** A directory that went, or became something else, or is a mount point. */
const passedOver: readonly number[] = [
  ERRNO.ENOENT,
  ERRNO.ENOTDIR,
  ERRNO.ELOOP,
  ERRNO.EXDEV,
  ERRNO.EACCES,
  ERRNO.ESTALE,
];

interface Level {
  directory: FileDescriptor | undefined;
  inode: bigint;
  /** Names yet to be looked at. */
  names: string[];
}

/** Bytes below the directory `path`; 0 if there is none. `skip`: names that do not count, with what is below them. */
export function treeSize(path: string, skip?: (name: string) => boolean): number {
  const levels: Level[] = [];
  try {
    return sumOf(path, levels, skip);
  } finally {
    for (const { directory } of levels) directory?.close();
  }
}

function sumOf(path: string, levels: Level[], skip: ((name: string) => boolean) | undefined): number {
  /** Of files with several names. */
  const counted = new Set<bigint>();
  let sum = 0;
  let top = firstLevel(path);
  if (top === undefined) return 0;
  levels.push(top);
  while (top !== undefined) {
    const name = top.names.pop();
    if (name === undefined) {
      top = leave(levels);
      continue;
    }
    if (skip?.(name) === true) continue;
    const parent: number = descriptorOf(top).number;
    const status = fstatatIfExists(parent, name);
    if (status === undefined) continue;
    if ((status.mode & S_IFMT) === S_IFDIR) {
      const below = enter(parent, name);
      if (below === undefined) continue;
      levels.push(below);
      const distant = levels.at(-1 - keptOpen);
      if (distant !== undefined && levels.length > keptOpen + 1) closeLevel(distant);
      top = below;
    } else if (status.links < 2 || !counted.has(status.inode)) {
      if (status.links > 1) counted.add(status.inode);
      sum += status.size;
    }
  }
  return sum;
}

function firstLevel(path: string): Level | undefined {
  try {
    return levelOf(open(path, O_RDONLY | O_DIRECTORY));
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ERRNO.ENOENT) return undefined;
    throw error;
  }
}

function enter(parent: number, name: string): Level | undefined {
  const fd = tryOpenat2(parent, name, directoryFlags, 0, stayInside);
  if (fd >= 0) return levelOf(fd);
  if (passedOver.includes(-fd)) return undefined;
  throw new SyscallError("openat2", -fd, [parent, name]);
}

function levelOf(fd: number): Level {
  const directory = new FileDescriptor(fd);
  try {
    return { directory, inode: fstat(fd).inode, names: listDirectory(fd) };
  } catch (error) {
    directory.close();
    throw error;
  }
}

/** Up one level. A directory that was moved meanwhile ends the walk of what was above it: its ".." is elsewhere now. */
function leave(levels: Level[]): Level | undefined {
  const left = levels.pop();
  const above = levels.at(-1);
  if (left === undefined || above === undefined) {
    left?.directory?.close();
    return undefined;
  }
  if (above.directory === undefined) {
    const fd = tryOpenat(descriptorOf(left).number, "..", directoryFlags);
    if (fd >= 0 && fstat(fd).inode === above.inode) above.directory = new FileDescriptor(fd);
    else {
      if (fd >= 0) new FileDescriptor(fd).close();
      // The nearest level that is still open; what lies between is no longer where it was.
      while (levels.length > 0 && levels.at(-1)?.directory === undefined) levels.pop();
    }
  }
  left.directory?.close();
  return levels.at(-1);
}

function closeLevel(level: Level): void {
  level.directory?.close();
  level.directory = undefined;
}

function descriptorOf(level: Level): FileDescriptor {
  if (level.directory === undefined) throw new Error("a level of the walk is closed");
  return level.directory;
}
