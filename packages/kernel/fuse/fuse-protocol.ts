/**
 * Numbers of the kernel's FUSE protocol: operations, flags, sizes and offsets, as of 7.45 (Linux 6.18).
 *
 * From include/uapi/linux/fuse.h. All integers are in the machine's order, little-endian on x64 and arm64. A request is a
 * header of 40 bytes, the operation's structure, then names (each with a NUL) or data; an answer is a header of 16 bytes
 * and the operation's structure.
 */

export const FUSE_MAJOR = 7;
/** The newest minor version whose structures are known here. */
export const FUSE_MINOR = 45;
/** Oldest one that is spoken: 7.31 (Linux 5.4), from which on structures have grown at their reserved ends only. */
export const FUSE_OLDEST_MINOR = 31;

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** What is agreed on at the start; from bit 32 on in `flags2`. */
export const INIT = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** The same, of `flags2`. */
export const INIT2 = {
  PASSTHROUGH: 1 << 5,
  HAS_RESEND: 1 << 7,
} as const;

export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

export const FOPEN = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  CACHE_DIR: 1 << 3,
  PASSTHROUGH: 1 << 7,
} as const;

/** The writer's file loses its set-user-id and set-group-id bits. */
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
/** Setting an access list takes the set-group-id bit away. */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;

export const NOTIFY = {
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  /** `struct fuse_notify_store_out`: node and offset of 64 bits, size and nothing of 32, then the data. */
  STORE: 4,
  DELETE: 6,
  RESEND: 7,
} as const;

/** Bytes of structures. */
export const SIZE = {
  IN_HEADER: 40,
  OUT_HEADER: 16,
  ATTR: 88,
  ATTR_OUT: 104,
  ENTRY_OUT: 128,
  OPEN_OUT: 16,
  INIT_OUT: 64,
  STATFS_OUT: 80,
  DIRENT: 24,
  WRITE_IN: 40,
  STORE_OUT: 24,
} as const;

/** ioctls of /dev/fuse: the number of the device's own letter, 229. */
export const FUSE_DEV_IOC_BACKING_OPEN = 0x4010_e501;
export const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004_e502;
