/**
 * Copies a layer's tree, with everything that makes files what they are: owners, modes, times to the nanosecond, extended
 * attributes, hard links among themselves, holes, devices, sockets.
 *
 * Walks by descriptors from both roots, follows no link and enters no other file system. The source must not change
 * meanwhile. Runs in a worker thread whose umask is 0. What was made when it throws stays; its owner removes it.
 */
import { copyContent } from "#kernel/copy-syscalls.ts";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fchmod,
  fchmodat,
  fchown,
  fchownat,
  fstat,
  fstatatIfExists,
  futimens,
  linkat,
  listDirectory,
  mkdirat,
  mknodat,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  symlinkat,
  utimensat,
} from "#kernel/file-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "#kernel/syscalls.ts";
import { getXattr, listXattr, setXattr, type XattrSubject, xattrPath } from "#kernel/xattr-syscalls.ts";

export interface CopyTask {
  source: string;
  /** An existing, empty directory; it gets the attributes of the source's root. */
  target: string;
  /**
   * Files become further names of the source's instead of copies: for trees whose files are never written to, only
   * replaced.
   */
  share: boolean;
}

const directoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
const stayInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

/** File systems refuse further names beyond a number of their own; a copy does then. */
const noMoreNames: readonly number[] = [ERRNO.EMLINK, ERRNO.EXDEV, ERRNO.EPERM, ERRNO.EOPNOTSUPP];

/** `aborted` is asked between entries; true stops with an AbortError. */
export function copyTree(task: CopyTask, aborted: () => boolean = () => false): void {
  using copy = new TreeCopy(task, aborted);
  copy.run();
}

class TreeCopy implements Disposable {
  readonly #source: FileDescriptor;
  readonly #target: FileDescriptor;
  readonly #share: boolean;
  readonly #aborted: () => boolean;
  /** Paths of directories whose entries are yet to be copied. */
  readonly #waiting: string[] = [""];
  /** Times of directories: set last, since making entries changes them. */
  readonly #times: { path: string; accessedAt: bigint; modifiedAt: bigint }[] = [];
  /** First copy of inodes with several names. */
  readonly #firstPaths = new Map<bigint, string>();

  constructor({ source, target, share }: CopyTask, aborted: () => boolean) {
    this.#source = new FileDescriptor(open(source, directoryFlags));
    this.#target = new FileDescriptor(open(target, directoryFlags));
    this.#share = share;
    this.#aborted = aborted;
  }

  [Symbol.dispose](): void {
    this.#source.close();
    this.#target.close();
  }

  run(): void {
    const { mode, uid, gid, accessedAt, modifiedAt } = fstat(this.#source.number);
    copyXattrs(this.#source.number, this.#target.number);
    fchown(this.#target.number, uid, gid);
    fchmod(this.#target.number, mode & 0o7777);
    this.#times.push({ path: "", accessedAt, modifiedAt });
    for (let path = this.#waiting.pop(); path !== undefined; path = this.#waiting.pop()) {
      this.#copyEntries(path);
    }
    for (let i = this.#times.length - 1; i >= 0; i--) this.#setTimes(this.#times[i] as TreeTimes);
  }

  #setTimes({ path, accessedAt, modifiedAt }: TreeTimes): void {
    using directory = inside(this.#target, path);
    futimens(directory.number, accessedAt, modifiedAt);
  }

  #copyEntries(path: string): void {
    using from = inside(this.#source, path);
    using to = inside(this.#target, path);
    const names = listDirectory(from.number);
    for (const name of names) {
      this.#check();
      const status = fstatatIfExists(from.number, name);
      if (status === undefined) continue;
      const child = path === "" ? name : `${path}/${name}`;
      if ((status.mode & S_IFMT) === S_IFDIR)
        this.#copyDirectory(from.number, to.number, name, child, status);
      else this.#copyLeaf(from.number, to.number, name, child, status);
    }
  }

  readonly #check = (): void => {
    if (this.#aborted()) throw new DOMException("copying was cancelled", "AbortError");
  };

  #copyDirectory(from: number, to: number, name: string, path: string, status: FileStatus): void {
    mkdirat(to, name, 0o700);
    using source = new FileDescriptor(openat(from, name, directoryFlags));
    using target = new FileDescriptor(openat(to, name, directoryFlags));
    copyXattrs(source.number, target.number);
    fchown(target.number, status.uid, status.gid);
    fchmod(target.number, status.mode & 0o7777);
    this.#times.push({ path, accessedAt: status.accessedAt, modifiedAt: status.modifiedAt });
    this.#waiting.push(path);
  }

  #copyLeaf(from: number, to: number, name: string, path: string, status: FileStatus): void {
    if (this.#share && tryLink(from, name, to, name)) return;
    if (status.links > 1) {
      const first = this.#firstPaths.get(status.inode);
      if (first !== undefined && this.#linkCopy(first, to, name)) return;
      if (first === undefined) this.#firstPaths.set(status.inode, path);
    }
    if ((status.mode & S_IFMT) === S_IFREG) this.#copyFile(from, to, name, status);
    else copyNode(from, to, name, status);
  }

  /** Makes `name` another name of an earlier copy. */
  #linkCopy(first: string, to: number, name: string): boolean {
    const slash = first.lastIndexOf("/");
    using directory = inside(this.#target, slash < 0 ? "" : first.slice(0, slash));
    return tryLink(directory.number, first.slice(slash + 1), to, name);
  }

  #copyFile(from: number, to: number, name: string, status: FileStatus): void {
    using source = new FileDescriptor(openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    using target = new FileDescriptor(openat(to, name, flags, status.mode & 0o777));
    if (status.size > 0) {
      const sparse = status.allocated < status.size;
      copyContent(source.number, target.number, status.size, sparse, this.#check);
    }
    // In this order: a change of owner takes capabilities and set-id bits away.
    fchown(target.number, status.uid, status.gid);
    copyXattrs(source.number, target.number);
    if ((status.mode & 0o7000) !== 0) fchmod(target.number, status.mode & 0o7777);
    futimens(target.number, status.accessedAt, status.modifiedAt);
  }
}

type TreeTimes = { path: string; accessedAt: bigint; modifiedAt: bigint };

/** The directory `path` below `root`; "" is the root itself. */
function inside(root: FileDescriptor, path: string): FileDescriptor {
  return new FileDescriptor(openat2(root.number, path === "" ? "." : path, directoryFlags, 0, stayInside));
}

/** A symbolic link, device, fifo or socket. */
function copyNode(from: number, to: number, name: string, status: FileStatus): void {
  const link = (status.mode & S_IFMT) === S_IFLNK;
  if (link) symlinkat(readlinkat(from, name), to, name);
  else mknodat(to, name, status.mode & (S_IFMT | 0o777), status.special.major, status.special.minor);
  fchownat(to, name, status.uid, status.gid);
  copyXattrs(xattrPath(from, name), xattrPath(to, name));
  if (!link && (status.mode & 0o7000) !== 0) fchmodat(to, name, status.mode & 0o7777);
  utimensat(to, name, status.accessedAt, status.modifiedAt);
}

function tryLink(from: number, name: string, to: number, newName: string): boolean {
  try {
    linkat(from, name, to, newName);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && noMoreNames.includes(error.errno)) return false;
    throw error;
  }
}

function copyXattrs(from: XattrSubject, to: XattrSubject): void {
  for (const name of listXattr(from)) {
    const value = getXattr(from, name);
    if (value !== undefined) setXattr(to, name, value);
  }
}
