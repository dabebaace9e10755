/**
 * System calls on files for a server that makes thousands of them a second: no exceptions, no objects. Every function
 * answers what the call does, and a negative error number where it fails.
 *
 * Names are single components, relative to a descriptor of their directory (O_PATH is enough); none is followed if it is
 * a symbolic link. Paths such as `/proc/self/fd/<n>` are for the calls that know no descriptors.
 */
import { ERRNO } from "#kernel/errno.ts";
import { lastErrno, libcFunction, SYS } from "#kernel/libc.ts";
import {
  cFchmodat2,
  cFchownat,
  cLinkat,
  cMkdirat,
  cMknodat,
  cReadlinkat,
  cRenameat2,
  cStatx,
  cSymlinkat,
  cUnlinkat,
  cUtimensat,
} from "#kernel/name-calls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, O_CLOEXEC } from "#kernel/syscalls.ts";

/** STATX_BASIC_STATS and STATX_BTIME. */
const STATUS_MASK = 0xfff;

const cOpenat = libcFunction("int openat(int dir, const char *path, int flags, unsigned int mode)");
const cClose = libcFunction("int close(int fd)");
const cRead = libcFunction("int64_t read(int fd, void *buffer, size_t count)");
const cWrite = libcFunction("int64_t write(int fd, void *buffer, size_t count)");
const cPread = libcFunction("int64_t pread(int fd, void *buffer, size_t count, int64_t offset)");
const cPwrite = libcFunction("int64_t pwrite(int fd, void *buffer, size_t count, int64_t offset)");
const cChmod = libcFunction("int chmod(const char *path, unsigned int mode)");
const cTruncate = libcFunction("int ftruncate(int fd, int64_t length)");
const cFallocate = libcFunction("int fallocate(int fd, int mode, int64_t offset, int64_t length)");
const cLseek = libcFunction("int64_t lseek(int fd, int64_t offset, int whence)");
const cFsync = libcFunction("int fsync(int fd)");
const cFdatasync = libcFunction("int fdatasync(int fd)");
const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");
const cCopyFileRange = libcFunction(
  "int64_t copy_file_range(int from, void *fromAt, int to, void *toAt, size_t length, unsigned int flags)",
);
const cGetdents = libcFunction("int64_t getdents64(int fd, void *out, size_t size)");
const cLgetxattr = libcFunction(
  "int64_t lgetxattr(const char *path, const char *name, void *value, size_t size)",
);
const cGetxattr = libcFunction(
  "int64_t getxattr(const char *path, const char *name, void *value, size_t size)",
);
const cLsetxattr = libcFunction(
  "int lsetxattr(const char *path, const char *name, void *value, size_t size, int flags)",
);
const cSetxattr = libcFunction(
  "int setxattr(const char *path, const char *name, void *value, size_t size, int flags)",
);
const cLlistxattr = libcFunction("int64_t llistxattr(const char *path, void *list, size_t size)");
const cListxattr = libcFunction("int64_t listxattr(const char *path, void *list, size_t size)");
const cLremovexattr = libcFunction("int lremovexattr(const char *path, const char *name)");
const cRemovexattr = libcFunction("int removexattr(const char *path, const char *name)");
const cSetfsuid = libcFunction("int setfsuid(unsigned int uid)");
const cSetfsgid = libcFunction("int setfsgid(unsigned int gid)");
const cUmask = libcFunction("unsigned int umask(unsigned int mask)");
const cFstatfs = libcFunction("int fstatfs(int fd, void *out)");

const EMPTY = Buffer.alloc(1);

/** Names hold no NUL here: they come from the kernel. */
function bytesOf(name: string): string | Buffer {
  return name.isWellFormed() ? name : Buffer.concat([pathBytes(name), EMPTY]);
}

function negated(result: number): number {
  return result < 0 ? -lastErrno() : result;
}

/** Status of a name, or of `directory` itself for "". `out` is a `struct statx`. */
export function quickStatus(directory: number, name: string, out: Uint8Array): number {
  const flags = name === "" ? AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW : AT_SYMLINK_NOFOLLOW;
  return negated(cStatx(directory, bytesOf(name), flags, STATUS_MASK, out));
}

/** Close-on-exec, always. */
export function quickOpen(directory: number, name: string, flags: number, mode = 0): number {
  return negated(cOpenat(directory, bytesOf(name), flags | O_CLOEXEC, mode));
}

export function quickClose(fd: number): void {
  cClose(fd);
}

export function quickRead(fd: number, out: Uint8Array, length: number): number {
  return negated(cRead(fd, out, length));
}

export function quickWrite(fd: number, data: Uint8Array, length: number): number {
  return negated(cWrite(fd, data, length));
}

/** As much as there is, up to the length of `out`. */
export function quickPread(fd: number, out: Uint8Array, offset: number): number {
  if (out.length === 0) return 0;
  return negated(cPread(fd, out, out.length, offset));
}

export function quickPwrite(fd: number, data: Uint8Array, offset: number): number {
  if (data.length === 0) return 0;
  return negated(cPwrite(fd, data, data.length, offset));
}

export function quickMkdir(directory: number, name: string, mode: number): number {
  return negated(cMkdirat(directory, bytesOf(name), mode));
}

/** `device` as the kernel encodes it in 32 bits, which is what mknod takes for numbers of that size. */
export function quickMknod(directory: number, name: string, mode: number, device = 0): number {
  return negated(cMknodat(directory, bytesOf(name), mode, device));
}

export function quickSymlink(target: string, directory: number, name: string): number {
  return negated(cSymlinkat(bytesOf(target), directory, bytesOf(name)));
}

export function quickLink(directory: number, name: string, newDirectory: number, newName: string): number {
  return negated(cLinkat(directory, bytesOf(name), newDirectory, bytesOf(newName), 0));
}

/** Gives an open file, also one without a name, a name. */
export function quickLinkOpen(fd: number, directory: number, name: string): number {
  return negated(cLinkat(-100, `/proc/self/fd/${fd}`, directory, bytesOf(name), AT_SYMLINK_FOLLOW));
}

export function quickUnlink(directory: number, name: string, flags = 0): number {
  return negated(cUnlinkat(directory, bytesOf(name), flags));
}

export function quickRename(
  directory: number,
  name: string,
  newDirectory: number,
  newName: string,
  flags = 0,
): number {
  return negated(cRenameat2(directory, bytesOf(name), newDirectory, bytesOf(newName), flags));
}

export function quickReadlink(directory: number, name: string, out: Uint8Array): number {
  return negated(cReadlinkat(directory, bytesOf(name), out, out.length));
}

/** 0xffff_ffff leaves that id as it is. */
export function quickChown(directory: number, name: string, uid: number, gid: number): number {
  const flags = name === "" ? AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW : AT_SYMLINK_NOFOLLOW;
  return negated(cFchownat(directory, bytesOf(name), uid, gid, flags));
}

/** For what is no symbolic link. */
export function quickChmod(directory: number, name: string, mode: number): number {
  const flags = name === "" ? AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW : AT_SYMLINK_NOFOLLOW;
  const result = negated(cFchmodat2(SYS.fchmodat2, directory, bytesOf(name), mode, flags));
  // Before Linux 6.6. What the name is was looked at before, and nobody else changes the directory.
  if (result === -ERRNO.ENOSYS) return negated(cChmod(openPath(directory, name), mode));
  return result;
}

/** Two `struct timespec`. */
export function quickTimes(directory: number, name: string, times: Uint8Array): number {
  const flags = name === "" ? AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW : AT_SYMLINK_NOFOLLOW;
  return negated(cUtimensat(directory, bytesOf(name), times, flags));
}

export function quickTruncate(fd: number, length: number): number {
  return negated(cTruncate(fd, length));
}

export function quickAllocate(fd: number, mode: number, offset: number, length: number): number {
  return negated(cFallocate(fd, mode, offset, length));
}

export function quickSeek(fd: number, offset: number, whence: number): number {
  return negated(cLseek(fd, offset, whence));
}

export function quickSync(fd: number, dataOnly: boolean): number {
  return negated(dataOnly ? cFdatasync(fd) : cFsync(fd));
}

export function quickIoctl(fd: number, request: number, argument: Uint8Array): number {
  return negated(cIoctl(fd, request, argument));
}

const offsets = new BigInt64Array(2);
const fromOffset = offsets.subarray(0, 1);
const toOffset = offsets.subarray(1, 2);

export function quickCopyRange(
  from: number,
  fromAt: number,
  to: number,
  toAt: number,
  length: number,
): number {
  offsets[0] = BigInt(fromAt);
  offsets[1] = BigInt(toAt);
  return negated(cCopyFileRange(from, fromOffset, to, toOffset, length, 0));
}

/** Entries of a directory that is open for reading, as `struct linux_dirent64`. */
export function quickEntries(fd: number, out: Uint8Array): number {
  return negated(cGetdents(fd, out, out.length));
}

/** A path for the calls on attributes: of a name, or of an open file for "". */
function openPath(directory: number, name: string): string {
  return name === "" ? `/proc/self/fd/${directory}` : `/proc/self/fd/${directory}/${name}`;
}

/** Bytes of the value; with an empty `out` how many there are. */
export function quickGetAttribute(directory: number, name: string, key: string, out: Uint8Array): number {
  const call = name === "" ? cGetxattr : cLgetxattr;
  const buffer = out.length === 0 ? EMPTY : out;
  return negated(call(bytesOf(openPath(directory, name)), bytesOf(key), buffer, out.length));
}

export function quickSetAttribute(
  directory: number,
  name: string,
  key: string,
  value: Uint8Array,
  flags: number,
): number {
  const call = name === "" ? cSetxattr : cLsetxattr;
  const buffer = value.length === 0 ? EMPTY : value;
  return negated(call(bytesOf(openPath(directory, name)), bytesOf(key), buffer, value.length, flags));
}

/** Names, each with a NUL. */
export function quickListAttributes(directory: number, name: string, out: Uint8Array): number {
  const call = name === "" ? cListxattr : cLlistxattr;
  const buffer = out.length === 0 ? EMPTY : out;
  return negated(call(bytesOf(openPath(directory, name)), buffer, out.length));
}

export function quickRemoveAttribute(directory: number, name: string, key: string): number {
  const call = name === "" ? cRemovexattr : cLremovexattr;
  return negated(call(bytesOf(openPath(directory, name)), bytesOf(key)));
}

/** The status of the file system that `fd` is on: a `struct statfs` of 64-bit machines. */
export function quickFileSystemStatus(fd: number, out: Uint8Array): number {
  return negated(cFstatfs(fd, out));
}

/** Whom the thread makes files as; its capabilities need SECBIT_NO_SETUID_FIXUP to stay. */
export function becomeFileOwner(uid: number, gid: number): void {
  cSetfsgid(gid);
  cSetfsuid(uid);
}

export function quickUmask(mask: number): void {
  cUmask(mask);
}
