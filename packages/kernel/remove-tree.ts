/**
 * Deletes a directory tree by descriptors: no symbolic link is followed, no path grows too long, and the number of
 * open descriptors stays bounded however deep the tree is. A mount point inside is never entered but reported (EXDEV, EBUSY).
 *
 * Blocking, in proportion to the tree: for a worker, or for trees known to be small.
 */
import { randomUUID } from "node:crypto";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmodat, fstatatIfExists, listDirectory, renameat2, tryUnlinkat } from "#kernel/file-syscalls.ts";
import { FS_APPEND_FL, FS_IMMUTABLE_FL, getInodeFlags, setInodeFlags } from "#kernel/inode-flags.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  AT_REMOVEDIR,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  open,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "#kernel/syscalls.ts";

/** How deep descriptors are kept open; directories below are first moved up to the top. */
const maxDepth = 100;

/** Removes `name` in the open directory `parent` and everything below it. Succeeds if nothing is there. */
export function removeTreeAt(parent: number, name: string): void {
  const result = tryUnlinkat(parent, name);
  if (result === 0 || result === ERRNO.ENOENT) return;
  const status = fstatatIfExists(parent, name);
  if (status === undefined) return;
  if ((status.mode & 0o170000) !== 0o040000) {
    clearProtection(parent);
    unlinkOrThrow(parent, name, 0);
    return;
  }
  {
    using directory = openToRemove(parent, name);
    emptyDirectory(directory.number, 0, directory.number);
  }
  removeDirectory(parent, name);
}

/** Removes a tree by its path on the host. See `removeTreeAt`. */
export function removeTree(path: string): void {
  const slash = path.lastIndexOf("/");
  using parent = new FileDescriptor(open(path.slice(0, slash + 1) || ".", O_PATH | O_DIRECTORY));
  removeTreeAt(parent.number, path.slice(slash + 1));
}

/** `top`: the top directory, where deep ones are moved to. */
function emptyDirectory(directory: number, depth: number, top: number): void {
  // Again while something is found: deep directories of the level below arrive in the top one meanwhile.
  for (;;) {
    const names = listDirectory(directory);
    if (names.length === 0) return;
    for (const name of names) removeEntry(directory, name, depth, top);
    if (depth > 0) return;
  }
}

function removeEntry(directory: number, name: string, depth: number, top: number): void {
  const result = tryUnlinkat(directory, name);
  if (result === 0 || result === ERRNO.ENOENT) return;
  const mode = fstatatIfExists(directory, name)?.mode;
  if (mode === undefined) return;
  if ((mode & 0o170000) !== 0o040000) {
    clearProtection(directory);
    using file = (mode & 0o170000) === 0o100000 ? openToRemove(directory, name, false) : undefined;
    if (file !== undefined) clearProtection(file.number);
    unlinkOrThrow(directory, name, 0);
    return;
  }
  if (tryUnlinkat(directory, name, AT_REMOVEDIR) === 0) return;
  if (depth >= maxDepth) {
    renameat2(directory, name, top, `.berth-remove-${randomUUID()}`);
    return;
  }
  {
    using child = openToRemove(directory, name);
    emptyDirectory(child.number, depth + 1, top);
  }
  removeDirectory(directory, name);
}

function openToRemove(parent: number, name: string, directory = true): FileDescriptor {
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (directory ? O_DIRECTORY : 0);
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  try {
    return new FileDescriptor(openat2(parent, name, flags, 0, resolve));
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== ERRNO.EACCES) throw error;
    // Without CAP_DAC_OVERRIDE an owner can still give itself the right.
    fchmodat(parent, name, 0o700);
    return new FileDescriptor(openat2(parent, name, flags, 0, resolve));
  }
}

function removeDirectory(parent: number, name: string): void {
  const result = tryUnlinkat(parent, name, AT_REMOVEDIR);
  if (result === 0 || result === ERRNO.ENOENT) return;
  if (result === ERRNO.EPERM) {
    clearProtection(parent);
    using directory = openToRemove(parent, name);
    clearProtection(directory.number);
  }
  unlinkOrThrow(parent, name, AT_REMOVEDIR);
}

function unlinkOrThrow(parent: number, name: string, flags: number): void {
  const result = tryUnlinkat(parent, name, flags);
  if (result !== 0 && result !== ERRNO.ENOENT)
    throw new SyscallError("unlinkat", result, [parent, name, flags]);
}

/** Takes the immutable and append-only attributes off. Best effort: the removal after it reports what is wrong. */
function clearProtection(fd: number): void {
  const flags = getInodeFlags(fd);
  if (flags !== undefined && (flags & protection) !== 0) setInodeFlags(fd, flags & ~protection);
}

const protection = FS_APPEND_FL | FS_IMMUTABLE_FL;
