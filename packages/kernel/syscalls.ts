/**
 * System calls on descriptors: open, close, read, write, seek and the like.
 *
 * Its sisters: file-syscalls.ts (names in directories), xattr-syscalls.ts, mount-syscalls.ts, process-syscalls.ts,
 * socket-syscalls.ts. Every function throws SyscallError and retries EINTR where the call can be repeated. Descriptors
 * are plain numbers here, opened close-on-exec; owners wrap them in FileDescriptor.
 */
import { constants } from "node:fs";
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction, retrying, SYS } from "#kernel/libc.ts";
import { encodePath } from "#kernel/path-bytes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

/** open(2) flags. O_DIRECTORY and O_NOFOLLOW differ between x64 and arm64, so Node's values are taken. */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = constants.O_CREAT;
export const O_EXCL = constants.O_EXCL;
export const O_NOCTTY = constants.O_NOCTTY;
export const O_TRUNC = constants.O_TRUNC;
export const O_APPEND = constants.O_APPEND;
export const O_NONBLOCK = constants.O_NONBLOCK;
export const O_DIRECTORY = constants.O_DIRECTORY;
export const O_NOFOLLOW = constants.O_NOFOLLOW;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** openat2 resolve flags, linux/openat2.h. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

const cOpenat = libcFunction("int openat(int dir, const char *path, int flags, unsigned int mode)");
const cOpenat2 = libcFunction("long syscall(long nr, long dir, const char *path, void *how, long size)");
const cClose = libcFunction("int close(int fd)");
const cRead = libcFunction("int64_t read(int fd, void *buffer, size_t count)");
const cPread = libcFunction("int64_t pread(int fd, void *buffer, size_t count, int64_t offset)");
const cWrite = libcFunction("int64_t write(int fd, void *buffer, size_t count)");
const cFtruncate = libcFunction("int ftruncate(int fd, int64_t length)");
const cLseek = libcFunction("int64_t lseek(int fd, int64_t offset, int whence)");
const cFsync = libcFunction("int fsync(int fd)");
const cSyncfs = libcFunction("int syncfs(int fd)");
const cFcntl = libcFunction("int fcntl(int fd, int command, long argument)");
const cUnshare = libcFunction("int unshare(int flags)");
const cUmask = libcFunction("unsigned int umask(unsigned int mask)");

/** Opens `path` relative to `directory`; close-on-exec always. Returns the descriptor. */
export function openat(directory: number, path: string, flags: number, mode = 0): number {
  const bytes = encodePath(path);
  return retrying("openat", [directory, path, flags], () =>
    cOpenat(directory, bytes, flags | O_CLOEXEC, mode),
  );
}

/** Like `openat`, but answers a negative error number where that throws. */
export function tryOpenat(directory: number, path: string, flags: number, mode = 0): number {
  const bytes = encodePath(path);
  for (;;) {
    const result = cOpenat(directory, bytes, flags | O_CLOEXEC, mode);
    if (result >= 0) return result;
    const errno = lastErrno();
    if (errno !== ERRNO.EINTR) return -errno;
  }
}

/** openat from the current directory. */
export function open(path: string, flags: number, mode = 0): number {
  return openat(AT_FDCWD, path, flags, mode);
}

/** `struct open_how`: flags, mode, resolve, 64 bits each. */
export function encodeOpenHow(flags: number, mode: number, resolve: number): Buffer {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return how;
}

/** Reused by every call of this thread: each is over before the next begins. The upper halves stay zero. */
const openHow = new Uint32Array(6);

/** The kernel answers EAGAIN when a rename races with `..`; more than this many in a row is an attack or a bug. */
const racedRetries = 64;

/** Like `openat2`, but answers a negative error number where that throws; for paths that may well be absent. */
export function tryOpenat2(
  directory: number,
  path: string,
  flags: number,
  mode: number,
  resolve: number,
): number {
  const bytes = encodePath(path);
  for (let attempt = 0; ; attempt++) {
    openHow[0] = flags | O_CLOEXEC;
    openHow[2] = mode;
    openHow[4] = resolve;
    const result = cOpenat2(SYS.openat2, directory, bytes, openHow, 24);
    if (result >= 0) return result;
    const errno = lastErrno();
    if ((errno !== ERRNO.EAGAIN && errno !== ERRNO.EINTR) || attempt === racedRetries) return -errno;
  }
}

/** Opens `path` relative to `directory`, resolved under the restrictions RESOLVE_*; close-on-exec always. */
export function openat2(
  directory: number,
  path: string,
  flags: number,
  mode: number,
  resolve: number,
): number {
  const result = tryOpenat2(directory, path, flags, mode, resolve);
  if (result < 0) throw new SyscallError("openat2", -result, [directory, path, flags]);
  return result;
}

/** Closes. Linux frees the number even when it reports an error, so only EBADF, a bug of ours, is thrown. */
export function close(fd: number): void {
  if (cClose(fd) < 0 && lastErrno() === ERRNO.EBADF) fail("close", [fd]);
}

/** Reads up to `buffer.length` bytes at the current offset; 0 at the end. */
export function read(fd: number, buffer: Uint8Array): number {
  return retrying("read", [fd, buffer.length], () => cRead(fd, buffer, buffer.length));
}

/** Reads up to `buffer.length` bytes at `offset`; 0 at the end. */
export function pread(fd: number, buffer: Uint8Array, offset: number): number {
  return retrying("pread", [fd, buffer.length, offset], () => cPread(fd, buffer, buffer.length, offset));
}

/** Writes; returns how many bytes went. */
export function write(fd: number, buffer: Uint8Array): number {
  return retrying("write", [fd, buffer.length], () => cWrite(fd, buffer, buffer.length));
}

/** Writes the whole buffer. */
export function writeAll(fd: number, buffer: Uint8Array): void {
  let done = 0;
  while (done < buffer.length) done += write(fd, done === 0 ? buffer : buffer.subarray(done));
}

/** Sets the length in bytes; grows with a hole. */
export function ftruncate(fd: number, length: number): void {
  retrying("ftruncate", [fd, length], () => cFtruncate(fd, length));
}

export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Moves the offset; returns the new one. */
export function lseek(fd: number, offset: number, whence: number): number {
  const result = cLseek(fd, offset, whence);
  if (result < 0) fail("lseek", [fd, offset, whence]);
  return result;
}

export function fsync(fd: number): void {
  retrying("fsync", [fd], () => cFsync(fd));
}

/** Writes back the whole file system that `fd` is on. */
export function syncfs(fd: number): void {
  retrying("syncfs", [fd], () => cSyncfs(fd));
}

const F_DUPFD_CLOEXEC = 1030;

/** A second descriptor of the same open file, close-on-exec. */
export function duplicate(fd: number): number {
  return retrying("fcntl", [fd, F_DUPFD_CLOEXEC], () => cFcntl(fd, F_DUPFD_CLOEXEC, 0));
}

const CLONE_FS = 0x200;

/** Gives the calling thread its own umask and current directory, apart from the other threads' of the process. */
export function unshareThreadUmask(): void {
  if (cUnshare(CLONE_FS) < 0) fail("unshare", [CLONE_FS]);
}

/** Sets the file mode mask, of the whole process unless the thread has its own; returns the old one. */
export function umask(mask: number): number {
  return cUmask(mask);
}
