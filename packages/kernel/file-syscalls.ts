/**
 * System calls on names in directories: stat, make, link, rename, remove, owners, modes, times, listing.
 *
 * All are relative to a directory descriptor and none follows a final symbolic link unless its name says so. A path with
 * slashes is resolved by the kernel as the host sees it; for paths inside a container's root use root-directory.ts,
 * which only ever passes single names here.
 */
import { readdirSync } from "node:fs";
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction, SYS } from "#kernel/libc.ts";
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
import { decodePath, encodePath } from "#kernel/path-bytes.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from "#kernel/syscalls.ts";

/** File type bits of a mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;

const cFchown = libcFunction("int fchown(int fd, unsigned int uid, unsigned int gid)");
const cFchmod = libcFunction("int fchmod(int fd, unsigned int mode)");
const cFchmodat = libcFunction("int fchmodat(int dir, const char *path, unsigned int mode, int flags)");
const cFutimens = libcFunction("int futimens(int fd, void *times)");
const cFlock = libcFunction("int flock(int fd, int operation)");

/** What statx tells. Times are nanoseconds since the epoch. */
export interface FileStatus {
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  links: number;
  inode: bigint;
  /** Device number of the file system, major and minor. */
  device: { major: number; minor: number };
  /** Device number of a device node, else 0, 0. */
  special: { major: number; minor: number };
  modifiedAt: bigint;
  accessedAt: bigint;
  changedAt: bigint;
  /** Bytes allocated on disk. */
  allocated: number;
}

const STATX_BASIC_STATS = 0x7ff;
/** Size of `struct statx`, linux/stat.h; the same on every architecture. */
const statxSize = 256;
const statxBuffer = Buffer.alloc(statxSize);

/** Decodes `struct statx`. */
export function decodeStatx(bytes: Buffer): FileStatus {
  const time = (at: number) => bytes.readBigInt64LE(at) * 1_000_000_000n + BigInt(bytes.readUInt32LE(at + 8));
  return {
    links: bytes.readUInt32LE(0x10),
    uid: bytes.readUInt32LE(0x14),
    gid: bytes.readUInt32LE(0x18),
    mode: bytes.readUInt16LE(0x1c),
    inode: bytes.readBigUInt64LE(0x20),
    size: Number(bytes.readBigUInt64LE(0x28)),
    allocated: Number(bytes.readBigUInt64LE(0x30)) * 512,
    accessedAt: time(0x40),
    changedAt: time(0x60),
    modifiedAt: time(0x70),
    special: { major: bytes.readUInt32LE(0x80), minor: bytes.readUInt32LE(0x84) },
    device: { major: bytes.readUInt32LE(0x88), minor: bytes.readUInt32LE(0x8c) },
  };
}

/** Status of `path`; of `directory` itself for "". The final symbolic link is not followed unless `follow`. */
export function fstatat(directory: number, path: string, follow = false): FileStatus {
  const status = fstatatIfExists(directory, path, follow);
  if (status === undefined) fail("statx", [directory, path]);
  return status;
}

/** Like `fstatat`; undefined if nothing is there, as nothing can be under a name that is too long. */
export function fstatatIfExists(directory: number, path: string, follow = false): FileStatus | undefined {
  const flags = (path === "" ? AT_EMPTY_PATH : 0) | (follow ? 0 : AT_SYMLINK_NOFOLLOW);
  if (cStatx(directory, encodePath(path), flags, STATX_BASIC_STATS, statxBuffer) < 0) {
    const errno = lastErrno();
    if (errno === ERRNO.ENOENT || errno === ERRNO.ENAMETOOLONG) return undefined;
    fail("statx", [directory, path]);
  }
  return decodeStatx(statxBuffer);
}

/** Status of an open file. */
export function fstat(fd: number): FileStatus {
  return fstatat(fd, "");
}

const STATX_MNT_ID = 0x1000;

/** Number of the mount an open file was reached by (Linux 5.8): the same for all names of one mount. */
export function mountIdOf(fd: number): bigint {
  const flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if (cStatx(fd, encodePath(""), flags, STATX_MNT_ID, statxBuffer) < 0) fail("statx", [fd]);
  return statxBuffer.readBigUInt64LE(0x90);
}

export function mkdirat(directory: number, path: string, mode: number): void {
  if (cMkdirat(directory, encodePath(path), mode) < 0) fail("mkdirat", [directory, path, mode]);
}

/** The kernel's encoding of a device number, as glibc's gnu_dev_makedev has it. */
export function makeDevice(major: number, minor: number): bigint {
  const high = BigInt(major);
  const low = BigInt(minor);
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  );
}

/** Makes a fifo, socket, device or empty file; `mode` carries the type bits. */
export function mknodat(directory: number, path: string, mode: number, major = 0, minor = 0): void {
  const device = makeDevice(major, minor);
  if (cMknodat(directory, encodePath(path), mode, device) < 0) {
    fail("mknodat", [directory, path, mode, `${major}:${minor}`]);
  }
}

export function symlinkat(target: string, directory: number, path: string): void {
  if (cSymlinkat(encodePath(target), directory, encodePath(path)) < 0) {
    fail("symlinkat", [target, directory, path]);
  }
}

/** Flags: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH; without them a symbolic link is linked itself. */
export function linkat(
  directory: number,
  path: string,
  newDirectory: number,
  newPath: string,
  flags = 0,
): void {
  if (cLinkat(directory, encodePath(path), newDirectory, encodePath(newPath), flags) < 0) {
    fail("linkat", [directory, path, newDirectory, newPath]);
  }
}

/** Removes a name; with AT_REMOVEDIR an empty directory. */
export function unlinkat(directory: number, path: string, flags = 0): void {
  if (cUnlinkat(directory, encodePath(path), flags) < 0) fail("unlinkat", [directory, path, flags]);
}

/** Like `unlinkat`, but answers 0 or the error number. */
export function tryUnlinkat(directory: number, path: string, flags = 0): number {
  return cUnlinkat(directory, encodePath(path), flags) < 0 ? lastErrno() : 0;
}

export function renameat2(
  directory: number,
  path: string,
  newDirectory: number,
  newPath: string,
  flags = 0,
): void {
  if (cRenameat2(directory, encodePath(path), newDirectory, encodePath(newPath), flags) < 0) {
    fail("renameat2", [directory, path, newDirectory, newPath, flags]);
  }
}

/** Target of a symbolic link; of the link `directory` was opened on (O_PATH) for "". */
export function readlinkat(directory: number, path: string): string {
  const buffer = Buffer.alloc(4096);
  const length = cReadlinkat(directory, encodePath(path), buffer, buffer.length);
  if (length < 0) fail("readlinkat", [directory, path]);
  return decodePath(buffer.subarray(0, length));
}

/** Changes the owner, never through a final symbolic link. "" means `directory` itself, which may be O_PATH. */
export function fchownat(directory: number, path: string, uid: number, gid: number): void {
  const flags = AT_SYMLINK_NOFOLLOW | (path === "" ? AT_EMPTY_PATH : 0);
  if (cFchownat(directory, encodePath(path), uid, gid, flags) < 0) {
    fail("fchownat", [directory, path, uid, gid]);
  }
}

export function fchown(fd: number, uid: number, gid: number): void {
  if (cFchown(fd, uid, gid) < 0) fail("fchown", [fd, uid, gid]);
}

export function fchmod(fd: number, mode: number): void {
  if (cFchmod(fd, mode) < 0) fail("fchmod", [fd, mode]);
}

/**
 * Changes the permission bits, never through a final symbolic link: fchmodat2 (Linux 6.6), and before that libc's way
 * through /proc. Symbolic links themselves answer EOPNOTSUPP.
 */
export function fchmodat(directory: number, path: string, mode: number): void {
  const flags = AT_SYMLINK_NOFOLLOW | (path === "" ? AT_EMPTY_PATH : 0);
  if (cFchmodat2(SYS.fchmodat2, directory, encodePath(path), mode, flags) === 0) return;
  if (lastErrno() !== ERRNO.ENOSYS) fail("fchmodat2", [directory, path, mode]);
  const result =
    path === ""
      ? cFchmodat(-1, `/proc/self/fd/${directory}`, mode, 0)
      : cFchmodat(directory, encodePath(path), mode, AT_SYMLINK_NOFOLLOW);
  if (result < 0) fail("fchmodat", [directory, path, mode]);
}

/** Two `struct timespec`: access and modification time, seconds and nanoseconds each. */
const times = new BigInt64Array(4);

function setTimes(accessedAt: bigint, modifiedAt: bigint): BigInt64Array {
  // Seconds round down, so that nanoseconds stay positive before 1970.
  times[1] = ((accessedAt % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  times[0] = (accessedAt - times[1]) / 1_000_000_000n;
  times[3] = ((modifiedAt % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  times[2] = (modifiedAt - times[3]) / 1_000_000_000n;
  return times;
}

/** Sets both times, nanoseconds since the epoch, never through a final symbolic link. "" means `directory` itself. */
export function utimensat(directory: number, path: string, accessedAt: bigint, modifiedAt: bigint): void {
  const flags = AT_SYMLINK_NOFOLLOW | (path === "" ? AT_EMPTY_PATH : 0);
  if (cUtimensat(directory, encodePath(path), setTimes(accessedAt, modifiedAt), flags) < 0) {
    fail("utimensat", [directory, path]);
  }
}

/** Sets both times of an open file, nanoseconds since the epoch. */
export function futimens(fd: number, accessedAt: bigint, modifiedAt: bigint): void {
  if (cFutimens(fd, setTimes(accessedAt, modifiedAt)) < 0) fail("futimens", [fd]);
}

/** Names in an open directory (not O_PATH), without "." and "..", in no order. */
export function listDirectory(fd: number): string[] {
  // Through /proc, so that the descriptor's own offset is not moved and Node's fast readdir does the work.
  return readdirSync(`/proc/self/fd/${fd}`, { encoding: "buffer" }).map(decodePath);
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Takes the exclusive lock of an open file if it is free; false if somebody else has it. Held until the file is closed. */
export function tryLock(fd: number): boolean {
  if (cFlock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  if (lastErrno() === ERRNO.EAGAIN) return false;
  fail("flock", [fd]);
}
