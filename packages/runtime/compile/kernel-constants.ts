/**
 * Numbers of the kernel's interface that programs are written with (uapi headers). Those of open(2) that differ between
 * the architectures come from `openFlags`.
 */

export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_RECURSIVE = 0x8000;

export const RESOLVE = {
  NO_XDEV: 0x1,
  NO_MAGICLINKS: 0x2,
  NO_SYMLINKS: 0x4,
  BENEATH: 0x8,
  IN_ROOT: 0x10,
} as const;

export const CLONE = {
  NEWTIME: 0x80,
  PARENT: 0x8000,
  NEWNS: 0x2_0000,
  NEWCGROUP: 0x200_0000,
  NEWUTS: 0x400_0000,
  NEWIPC: 0x800_0000,
  NEWUSER: 0x1000_0000,
  NEWPID: 0x2000_0000,
  NEWNET: 0x4000_0000,
} as const;

export const MS = {
  BIND: 0x1000,
  MOVE: 0x2000,
  REC: 0x4000,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;
export const MNT_DETACH = 2;

/** With the descriptor of a user namespace. */
export const MOUNT_ATTR_IDMAP = 0x10_0000;
export const OPEN_TREE_CLONE = 1;
export const OPEN_TREE_CLOEXEC = 0x8_0000;
export const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
export const FSPICK = { CLOEXEC: 1, EMPTY_PATH: 8 } as const;
export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, CMD_CREATE: 6, CMD_RECONFIGURE: 7 } as const;

export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x8_0000;
export const SOL_SOCKET = 1;
export const SO_RCVBUFFORCE = 33;
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const MSG_NOSIGNAL = 0x4000;

export const PR = {
  SET_PDEATHSIG: 1,
  SET_DUMPABLE: 4,
  SET_KEEPCAPS: 8,
  CAPBSET_DROP: 24,
  SET_NO_NEW_PRIVS: 38,
  CAP_AMBIENT: 47,
  CAP_AMBIENT_RAISE: 2,
  CAP_AMBIENT_CLEAR_ALL: 4,
} as const;

/** Of wait4: children of every kind. */
export const WALL = 0x4000_0000;

export const SECCOMP_SET_MODE_FILTER = 1;
export const KEYCTL_JOIN_SESSION_KEYRING = 1;
export const CLOSE_RANGE_CLOEXEC = 4;
export const SIGKILL = 9;

/** ioctl requests, the same on x86 and ARM. */
export const IOCTL = {
  TIOCSCTTY: 0x540e,
  TIOCSWINSZ: 0x5414,
  FIONREAD: 0x541b,
  TIOCGPTPEER: 0x5441,
  TIOCSPTLCK: 0x4004_5431,
} as const;

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  ENXIO: 6,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EINVAL: 22,
  ESPIPE: 29,
  ENOSYS: 38,
  ETIMEDOUT: 110,
} as const;

/** Where newfstatat(2) puts what, by architecture; times are that of access and, right after it, of change. */
export interface StatLayout {
  size: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  times: number;
}

export function statLayout(arch: "x64" | "arm64"): StatLayout {
  return arch === "x64"
    ? { size: 144, mode: 24, uid: 28, gid: 32, rdev: 40, times: 72 }
    : { size: 128, mode: 16, uid: 24, gid: 28, rdev: 32, times: 72 };
}

export interface OpenFlags {
  RDONLY: number;
  WRONLY: number;
  RDWR: number;
  CREAT: number;
  EXCL: number;
  NOCTTY: number;
  TRUNC: number;
  APPEND: number;
  NONBLOCK: number;
  DIRECTORY: number;
  NOFOLLOW: number;
  CLOEXEC: number;
  PATH: number;
}

const common = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
};

/** O_… of an architecture. */
export function openFlags(arch: "x64" | "arm64"): OpenFlags {
  return arch === "x64"
    ? { ...common, DIRECTORY: 0o200000, NOFOLLOW: 0o400000 }
    : { ...common, DIRECTORY: 0o40000, NOFOLLOW: 0o100000 };
}

/** A device number as mknod(2) takes it. */
export function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
