/**
 * Attributes of inodes as chattr(1) sets them. Not every file system has them, so both calls answer instead of throwing.
 */
import { libcFunction } from "#kernel/libc.ts";

/** linux/fs.h. */
export const FS_IMMUTABLE_FL = 0x10;
export const FS_APPEND_FL = 0x20;
export const FS_TOPDIR_FL = 0x20000;
/** btrfs: written in its own place. Only for files that are empty yet. */
export const FS_NOCOW_FL = 0x800000;

const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");
/** Requests encode a size of 8 on 64-bit, yet the kernel copies four bytes. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;

/** Flags of an open file or directory; undefined where the file system has none. */
export function getInodeFlags(fd: number): number | undefined {
  const flags = new Uint32Array(2);
  return cIoctl(fd, FS_IOC_GETFLAGS, flags) < 0 ? undefined : flags[0];
}

/** Sets all flags; false if the file system or the caller's rights do not allow it. */
export function setInodeFlags(fd: number, flags: number): boolean {
  return cIoctl(fd, FS_IOC_SETFLAGS, new Uint32Array([flags, 0])) === 0;
}
