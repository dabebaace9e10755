/**
 * Limits of directory trees by project quotas, as xfs has them and ext4 with the features "project" and "quota": a
 * number is given to a directory, everything made below inherits it, and what has one number is counted and limited together.
 */
import { fail, lastErrno, libcFunction, SYS } from "#kernel/libc.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");
const cQuotactl = libcFunction("long syscall(long nr, long fd, long command, long id, void *argument)");

/** linux/fs.h; `struct fsxattr` has 28 bytes. */
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FS_XFLAG_PROJINHERIT = 0x200;

/** linux/quota.h and linux/dqblk_xfs.h. */
const PRJQUOTA = 2;
const Q_XGETQUOTA = 0x5803;
const Q_XSETQLIM = 0x5804;
const Q_XGETQSTAT = 0x5805;
const FS_QUOTA_PDQ_ENFD = 1 << 5;
const FS_DQUOT_VERSION = 1;
const FS_PROJ_QUOTA = 2;
const FS_DQ_BSOFT = 1 << 2;
const FS_DQ_BHARD = 1 << 3;
/** Limits and usage are told in these bytes whatever the file system's own blocks are. */
const basicBlock = 512;
/** `struct fs_disk_quota`. */
const diskQuotaSize = 112;

export interface ProjectUsage {
  /** Bytes; 0 for none. */
  limit: number;
  used: number;
  /** How many files there are, directories included. */
  files: number;
}

/** Are limits of projects kept on the file system of an open directory? False where it, its mount or the kernel cannot. */
export function keepsProjectLimits(fd: number): boolean {
  if (projectOf(fd) === undefined) return false;
  // struct fs_quota_stat: version (1), padding, flags (2) …
  const state = Buffer.alloc(128);
  if (quotactl(fd, Q_XGETQSTAT, 0, state) < 0) return false;
  return (state.readUInt16LE(2) & FS_QUOTA_PDQ_ENFD) !== 0;
}

/** The project of an open directory, 0 for none; undefined where the file system has no such thing. */
export function projectOf(fd: number): number | undefined {
  const attributes = Buffer.alloc(28);
  return cIoctl(fd, FS_IOC_FSGETXATTR, attributes) < 0 ? undefined : attributes.readUInt32LE(12);
}

/** Puts an open, empty directory into a project, and all that will be made in it. */
export function setProject(fd: number, project: number): void {
  const attributes = Buffer.alloc(28);
  if (cIoctl(fd, FS_IOC_FSGETXATTR, attributes) < 0) fail("ioctl FSGETXATTR", [fd]);
  attributes.writeUInt32LE((attributes.readUInt32LE(0) | FS_XFLAG_PROJINHERIT) >>> 0, 0);
  attributes.writeUInt32LE(project, 12);
  if (cIoctl(fd, FS_IOC_FSSETXATTR, attributes) < 0) fail("ioctl FSSETXATTR", [fd, project]);
}

/** What a project uses and may use, on the file system of an open file. */
export function projectUsage(fd: number, project: number): ProjectUsage {
  const quota = Buffer.alloc(diskQuotaSize);
  if (quotactl(fd, Q_XGETQUOTA, project, quota) < 0) {
    if (new SyscallError("quotactl", lastErrno()).code === "ENOENT") return { limit: 0, used: 0, files: 0 };
    fail("quotactl_fd", [fd, project]);
  }
  return {
    limit: Number(quota.readBigUInt64LE(8)) * basicBlock,
    used: Number(quota.readBigUInt64LE(40)) * basicBlock,
    files: Number(quota.readBigUInt64LE(48)),
  };
}

/** How many bytes a project may use; 0 for no limit. */
export function limitProject(fd: number, project: number, bytes: number): void {
  const quota = Buffer.alloc(diskQuotaSize);
  quota.writeInt8(FS_DQUOT_VERSION, 0);
  quota.writeInt8(FS_PROJ_QUOTA, 1);
  quota.writeUInt16LE(FS_DQ_BHARD | FS_DQ_BSOFT, 2);
  quota.writeUInt32LE(project, 4);
  const blocks = BigInt(Math.ceil(bytes / basicBlock));
  quota.writeBigUInt64LE(blocks, 8);
  quota.writeBigUInt64LE(blocks, 16);
  if (quotactl(fd, Q_XSETQLIM, project, quota) < 0) fail("quotactl_fd", [fd, project, bytes]);
}

function quotactl(fd: number, command: number, project: number, argument: Buffer): number {
  return cQuotactl(SYS.quotactl_fd, fd, (command << 8) | PRJQUOTA, project, argument);
}
