/**
 * Paths inside a directory tree that somebody else controls: a container's root, a layer being unpacked.
 *
 * Every path is resolved by the kernel with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS): absolute links and `..` stay
 * inside, also while another process renames directories and plants links. What changes a name opens the directory that
 * holds it and passes the single last name. Paths are never joined to the root's own path as strings.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fchmodat,
  fchownat,
  fstat,
  fstatatIfExists,
  linkat,
  listDirectory,
  mkdirat,
  mknodat,
  readlinkat,
  renameat2,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  symlinkat,
  unlinkat,
  utimensat,
} from "#kernel/file-syscalls.ts";
import { removeTreeAt } from "#kernel/remove-tree.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  AT_REMOVEDIR,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  open,
  openat,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  read,
  tryOpenat2,
  writeAll,
} from "#kernel/syscalls.ts";
import { getXattr, listXattr, removeXattr, setXattr, xattrPath } from "#kernel/xattr-syscalls.ts";

const resolveInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

export interface FollowOption {
  /** Follow a symbolic link at the end of the path (inside the root). Default: no. */
  follow?: boolean;
}

export class RootDirectory implements Disposable {
  readonly #root: FileDescriptor;

  /** Opens the directory `path` of the host as a root. The path itself is trusted. */
  constructor(path: string) {
    this.#root = new FileDescriptor(open(path, O_PATH | O_DIRECTORY));
  }

  /** Descriptor of the root itself (O_PATH), owned by this object. */
  get descriptor(): number {
    return this.#root.number;
  }

  [Symbol.dispose](): void {
    this.#root.close();
  }

  /** Opens; the descriptor belongs to the caller. Devices and fifos are opened too: use `readFile` for untrusted files. */
  open(path: string, flags: number, mode = 0): FileDescriptor {
    const fd = this.#tryOpen(path, flags, mode);
    if (fd < 0) throw new SyscallError("openat2", -fd, [path, flags]);
    return new FileDescriptor(fd);
  }

  /** Like `open`; undefined if the path or a part of it does not exist (as no name can that is too long), or a part is no directory. */
  openIfExists(path: string, flags: number): FileDescriptor | undefined {
    const fd = this.#tryOpen(path, flags, 0);
    if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ENAMETOOLONG) return undefined;
    if (fd < 0) throw new SyscallError("openat2", -fd, [path, flags]);
    return new FileDescriptor(fd);
  }

  /** Like `openIfExists`, but undefined also where the path leads through a link. */
  openWithoutLinks(path: string, flags: number): FileDescriptor | undefined {
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    const fd = tryOpenat2(this.#root.number, path === "" ? "." : path, flags, 0, resolve);
    if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP || fd === -ERRNO.EXDEV)
      return undefined;
    if (fd < 0) throw new SyscallError("openat2", -fd, [path, flags]);
    return new FileDescriptor(fd);
  }

  #tryOpen(path: string, flags: number, mode: number): number {
    return tryOpenat2(this.#root.number, path === "" ? "." : path, flags, mode, resolveInside);
  }

  /**
   * The directory that holds the last name of `path`, and that name. Throws EINVAL where there is no last name to work
   * on ("", "/", "a/..").
   */
  openParent(path: string): { directory: FileDescriptor; name: string } {
    const { parent, name } = splitPath(path);
    return { directory: this.open(parent, O_PATH | O_DIRECTORY), name };
  }

  /**
   * Content of a regular file. Anything else at the end of the path is refused before it is opened, so no device is
   * touched and no fifo waited for; a file over `maxBytes` is refused with EFBIG. Links are followed unless told.
   */
  readFile(path: string, options: { maxBytes: number; follow?: boolean }): Buffer {
    using handle = this.open(path, O_PATH | (options.follow === false ? O_NOFOLLOW : 0));
    return readRegularFile(handle, path, options.maxBytes);
  }

  /** Status, following a final symbolic link; undefined if nothing is there. */
  stat(path: string): FileStatus | undefined {
    using handle = this.openIfExists(path, O_PATH);
    return handle && fstat(handle.number);
  }

  /** Status of the name itself; undefined if nothing is there. */
  lstat(path: string): FileStatus | undefined {
    using handle = this.openIfExists(path, O_PATH | O_NOFOLLOW);
    return handle && fstat(handle.number);
  }

  /** Names in a directory, without "." and "..", in no order. */
  list(path: string): string[] {
    using directory = this.open(path, O_RDONLY | O_DIRECTORY);
    return listDirectory(directory.number);
  }

  readLink(path: string): string {
    using link = this.open(path, O_PATH | O_NOFOLLOW);
    return readlinkat(link.number, "");
  }

  /**
   * Makes a directory and those above it that are missing; succeeds if it exists. New ones get `mode` (less the umask)
   * and, if given, the owner. Returns the directory (O_PATH).
   */
  mkdirAll(path: string, mode: number, owner?: { uid: number; gid: number }): FileDescriptor {
    const existing = this.#tryOpen(path, O_PATH | O_DIRECTORY, 0);
    if (existing >= 0) return new FileDescriptor(existing);
    if (existing !== -ERRNO.ENOENT) throw new SyscallError("openat2", -existing, [path]);
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    for (let count = 1; count <= names.length; count++) {
      const prefix = names.slice(0, count).join("/");
      const fd = this.#tryOpen(prefix, O_PATH | O_DIRECTORY, 0);
      if (fd >= 0) {
        new FileDescriptor(fd).close();
        continue;
      }
      if (fd !== -ERRNO.ENOENT) throw new SyscallError("openat2", -fd, [prefix]);
      const { directory, name } = this.openParent(prefix);
      using parent = directory;
      makeDirectory(parent.number, name, mode, owner);
    }
    return this.open(path, O_PATH | O_DIRECTORY);
  }

  mkdir(path: string, mode: number): void {
    using parent = this.#parent(path);
    mkdirat(parent.number, parent.name, mode);
  }

  /** Makes a regular file that must not exist yet (EEXIST, also for a dangling link), with this content. */
  createFile(path: string, content: Uint8Array, mode: number): void {
    using parent = this.#parent(path);
    using file = new FileDescriptor(openat(parent.number, parent.name, O_WRONLY | O_CREAT | O_EXCL, mode));
    writeAll(file.number, content);
  }

  /** Writes a regular file, new or truncated; follows links inside the root. */
  writeFile(path: string, content: Uint8Array, mode: number): void {
    using file = this.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY, mode);
    if ((fstat(file.number).mode & S_IFMT) !== S_IFREG) {
      throw new SyscallError("openat2", ERRNO.EINVAL, [path]);
    }
    writeAll(file.number, content);
  }

  symlink(target: string, path: string): void {
    using parent = this.#parent(path);
    symlinkat(target, parent.number, parent.name);
  }

  /** A second name `path` for `existing`; a symbolic link at its end is linked itself. */
  link(existing: string, path: string): void {
    using from = this.#parent(existing);
    using to = this.#parent(path);
    linkat(from.number, from.name, to.number, to.name);
  }

  mknod(path: string, mode: number, major = 0, minor = 0): void {
    using parent = this.#parent(path);
    mknodat(parent.number, parent.name, mode, major, minor);
  }

  rename(path: string, newPath: string, flags = 0): void {
    using from = this.#parent(path);
    using to = this.#parent(newPath);
    renameat2(from.number, from.name, to.number, to.name, flags);
  }

  /** Removes one name; a directory must be empty. */
  remove(path: string): void {
    using parent = this.#parent(path);
    const status = fstatatIfExists(parent.number, parent.name);
    const directory = status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
    unlinkat(parent.number, parent.name, directory ? AT_REMOVEDIR : 0);
  }

  /** Removes a name and everything below it; succeeds if nothing is there. */
  removeAll(path: string): void {
    using parent = this.#parent(path);
    removeTreeAt(parent.number, parent.name);
  }

  chown(path: string, uid: number, gid: number, options: FollowOption = {}): void {
    using handle = this.#handle(path, options);
    fchownat(handle.number, "", uid, gid);
  }

  /** Changes permission bits; symbolic links have none (EOPNOTSUPP). */
  chmod(path: string, mode: number, options: FollowOption = {}): void {
    using handle = this.#handle(path, options);
    fchmodat(handle.number, "", mode);
  }

  /** Access and modification time, nanoseconds since the epoch. */
  utimes(path: string, accessedAt: bigint, modifiedAt: bigint, options: FollowOption = {}): void {
    using handle = this.#handle(path, options);
    utimensat(handle.number, "", accessedAt, modifiedAt);
  }

  /** Extended attributes, of the name itself. */
  setXattr(path: string, name: string, value: Uint8Array): void {
    using parent = this.#parent(path);
    setXattr(xattrPath(parent.number, parent.name), name, value);
  }

  getXattr(path: string, name: string): Buffer | undefined {
    using parent = this.#parent(path);
    return getXattr(xattrPath(parent.number, parent.name), name);
  }

  listXattr(path: string): string[] {
    using parent = this.#parent(path);
    return listXattr(xattrPath(parent.number, parent.name));
  }

  removeXattr(path: string, name: string): boolean {
    using parent = this.#parent(path);
    return removeXattr(xattrPath(parent.number, parent.name), name);
  }

  #handle(path: string, options: FollowOption): FileDescriptor {
    return this.open(path, O_PATH | (options.follow === true ? 0 : O_NOFOLLOW));
  }

  #parent(path: string): Parent {
    const { directory, name } = this.openParent(path);
    return new Parent(directory, name);
  }
}

/** An open directory and the one name in it that is meant. */
class Parent implements Disposable {
  readonly #directory: FileDescriptor;
  readonly name: string;

  constructor(directory: FileDescriptor, name: string) {
    this.#directory = directory;
    this.name = name;
  }

  get number(): number {
    return this.#directory.number;
  }

  [Symbol.dispose](): void {
    this.#directory.close();
  }
}

/** Splits the last name off. Throws EINVAL if there is none, or if it is "." or "..". */
export function splitPath(path: string): { parent: string; name: string } {
  let end = path.length;
  while (end > 0 && path[end - 1] === "/") end--;
  const slash = path.lastIndexOf("/", end - 1);
  const name = path.slice(slash + 1, end);
  if (name === "" || name === "." || name === "..") throw new SyscallError("path", ERRNO.EINVAL, [path]);
  return { parent: slash < 0 ? "." : path.slice(0, slash + 1), name };
}

function makeDirectory(
  parent: number,
  name: string,
  mode: number,
  owner: { uid: number; gid: number } | undefined,
): void {
  try {
    mkdirat(parent, name, mode);
  } catch (error) {
    // Somebody else made it between the look and now, or it is a dangling link: opening it will tell.
    if (error instanceof SyscallError && error.errno === ERRNO.EEXIST) return;
    throw error;
  }
  if (owner !== undefined) fchownat(parent, name, owner.uid, owner.gid);
}

/** Reads an O_PATH descriptor of a regular file, at most `maxBytes`. */
export function readRegularFile(handle: FileDescriptor, path: string, maxBytes: number): Buffer {
  const status = fstat(handle.number);
  if ((status.mode & S_IFMT) !== S_IFREG) throw new SyscallError("readFile", ERRNO.EINVAL, [path]);
  if (status.size > maxBytes) throw new SyscallError("readFile", ERRNO.EFBIG, [path, status.size]);
  // The kernel's own link to the file just checked: nobody can put another in its place.
  using file = new FileDescriptor(open(handle.procPath, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  // The size is only a guess: files of /proc say 0, and others may grow meanwhile.
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(Math.max(4096, status.size - total + 1));
    const count = read(file.number, chunk);
    if (count === 0) return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    total += count;
    if (total > maxBytes) throw new SyscallError("readFile", ERRNO.EFBIG, [path, total]);
    chunks.push(chunk.subarray(0, count));
  }
}
