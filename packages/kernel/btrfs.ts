/**
 * Subvolumes and quota groups of btrfs, by its ioctls (linux/btrfs.h).
 *
 * A snapshot commits the file system's transaction and a rescan reads all of it, so whatever may wait for the disk is
 * done in a thread of libuv's and answers a promise; the descriptor must stay open until then.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fstat } from "#kernel/file-syscalls.ts";
import { fstatfs } from "#kernel/file-system-status.ts";
import { inThread, lastErrno, libcFunction } from "#kernel/libc.ts";
import { decodePath, pathBytes } from "#kernel/path-bytes.ts";
import { type SyscallArgument, SyscallError } from "#kernel/syscall-error.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";

/** linux/magic.h. */
const BTRFS_SUPER_MAGIC = 0x9123683e;
/** Inode number of every subvolume's root: BTRFS_FIRST_FREE_OBJECTID. */
const rootInode = 256n;

/** Requests encode direction, size, 0x94 and a number; equal on x64 and arm64. */
const BTRFS_IOC_INO_LOOKUP = 0xd0009412;
const BTRFS_IOC_SNAP_CREATE_V2 = 0x50009417;
const BTRFS_IOC_SUBVOL_CREATE_V2 = 0x50009418;
const BTRFS_IOC_SUBVOL_GETFLAGS = 0x80089419;
const BTRFS_IOC_SUBVOL_SETFLAGS = 0x4008941a;
const BTRFS_IOC_QUOTA_CTL = 0xc0109428;
const BTRFS_IOC_QGROUP_CREATE = 0x4010942a;
const BTRFS_IOC_QGROUP_LIMIT = 0x8030942b;
const BTRFS_IOC_QUOTA_RESCAN_WAIT = 0x942e;
const BTRFS_IOC_GET_SUBVOL_ROOTREF = 0xd000943d;
const BTRFS_IOC_INO_LOOKUP_USER = 0xd000943e;
const BTRFS_IOC_SNAP_DESTROY_V2 = 0x5000943f;

const BTRFS_QUOTA_CTL_ENABLE = 1n;
const BTRFS_QGROUP_LIMIT_MAX_RFER = 1n;
const BTRFS_SUBVOL_RDONLY = 2n;

/** Bytes: every argument of an ioctl here fits, and the largest are exactly so long. */
const argumentSize = 4096;
/** Where `struct btrfs_ioctl_vol_args_v2` has the name, and the longest it may be. */
const nameOffset = 56;

const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");

async function ioctl(
  name: string,
  fd: number,
  request: number,
  argument: Buffer,
  shown: readonly SyscallArgument[] = [],
): Promise<void> {
  await inThread(cIoctl, `ioctl ${name}`, [fd, request, argument], [fd, ...shown]);
}

/** Is an open file on btrfs? */
export function isOnBtrfs(fd: number): boolean {
  return fstatfs(fd).type === BTRFS_SUPER_MAGIC;
}

/** Is an open directory, known to be on btrfs, the root of a subvolume? */
export function isSubvolume(fd: number): boolean {
  return fstat(fd).inode === rootInode;
}

/** An empty subvolume `name`, with mode 0755 less the umask, in an open directory. */
export async function createSubvolume(directory: number, name: string): Promise<void> {
  const argument = volumeArgument(name);
  await ioctl("SUBVOL_CREATE_V2", directory, BTRFS_IOC_SUBVOL_CREATE_V2, argument, [name]);
}

/** A writable snapshot of the subvolume that is open as `source`. Subvolumes in it are empty directories there. */
export async function snapshotSubvolume(source: number, directory: number, name: string): Promise<void> {
  const argument = volumeArgument(name);
  argument.writeBigInt64LE(BigInt(source), 0);
  await ioctl("SNAP_CREATE_V2", directory, BTRFS_IOC_SNAP_CREATE_V2, argument, [name]);
}

/** Removes a subvolume with everything in it; ENOTEMPTY where it has others in it. Its space comes back later. */
export async function destroySubvolume(directory: number, name: string): Promise<void> {
  const argument = volumeArgument(name);
  await ioctl("SNAP_DESTROY_V2", directory, BTRFS_IOC_SNAP_DESTROY_V2, argument, [name]);
}

function volumeArgument(name: string): Buffer {
  const argument = Buffer.alloc(argumentSize);
  argument.set(pathBytes(name), nameOffset);
  return argument;
}

/** Takes the read-only property off an open subvolume. */
export function makeSubvolumeWritable(fd: number): void {
  const flags = new BigUint64Array(1);
  if (cIoctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, flags) < 0) failed("SUBVOL_GETFLAGS", fd);
  const before = flags[0] ?? 0n;
  if ((before & BTRFS_SUBVOL_RDONLY) === 0n) return;
  flags[0] = before & ~BTRFS_SUBVOL_RDONLY;
  if (cIoctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, flags) < 0) failed("SUBVOL_SETFLAGS", fd);
}

function failed(name: string, fd: number): never {
  throw new SyscallError(`ioctl ${name}`, lastErrno(), [fd]);
}

/** The number by which the file system, and its quota groups, know the subvolume an open file is in. */
export function subvolumeId(fd: number): bigint {
  const argument = Buffer.alloc(argumentSize);
  argument.writeBigUInt64LE(rootInode, 8);
  if (cIoctl(fd, BTRFS_IOC_INO_LOOKUP, argument) < 0) failed("INO_LOOKUP", fd);
  return argument.readBigUInt64LE(0);
}

export interface NestedSubvolume {
  /** The directory it is in, below the subvolume that was asked, as `path-bytes.ts` has names; "." for the top. */
  directory: string;
  name: string;
}

/** Some of the subvolumes directly below an open one, though not below one of those; none when there are none. */
export async function nestedSubvolumes(fd: number): Promise<NestedSubvolume[]> {
  const argument = Buffer.alloc(argumentSize);
  try {
    await ioctl("GET_SUBVOL_ROOTREF", fd, BTRFS_IOC_GET_SUBVOL_ROOTREF, argument);
  } catch (error) {
    // More than one answer holds: what it has is answered all the same.
    if (!(error instanceof SyscallError) || error.code !== "EOVERFLOW") throw error;
  }
  // struct btrfs_ioctl_get_subvol_rootref_args: least id (8), 255 times id and directory (8 each), how many (1).
  const count = argument[8 + 255 * 16] ?? 0;
  const nested: NestedSubvolume[] = [];
  for (let index = 0; index < count; index++) {
    const at = 8 + index * 16;
    nested.push(await locate(fd, argument.readBigUInt64LE(at), argument.readBigUInt64LE(at + 8)));
  }
  return nested;
}

async function locate(fd: number, id: bigint, directory: bigint): Promise<NestedSubvolume> {
  // struct btrfs_ioctl_ino_lookup_user_args: directory (8), id (8), name (256), path with a closing slash.
  const argument = Buffer.alloc(argumentSize);
  argument.writeBigUInt64LE(directory, 0);
  argument.writeBigUInt64LE(id, 8);
  await ioctl("INO_LOOKUP_USER", fd, BTRFS_IOC_INO_LOOKUP_USER, argument);
  return {
    name: textAt(argument.subarray(16, 272)),
    directory: textAt(argument.subarray(272)).replace(/\/$/, "") || ".",
  };
}

function textAt(field: Buffer): string {
  const end = field.indexOf(0);
  return decodePath(field.subarray(0, end < 0 ? field.length : end));
}

/** Counts from now on what each subvolume refers to, and waits until what is there is counted. */
export async function enableQuotas(fd: number): Promise<void> {
  const argument = Buffer.alloc(16);
  argument.writeBigUInt64LE(BTRFS_QUOTA_CTL_ENABLE, 0);
  await ioctl("QUOTA_CTL", fd, BTRFS_IOC_QUOTA_CTL, argument);
  await waitForQuotaScan(fd);
}

/** Waits for the end of a count that is under way. */
export async function waitForQuotaScan(fd: number): Promise<void> {
  await ioctl("QUOTA_RESCAN_WAIT", fd, BTRFS_IOC_QUOTA_RESCAN_WAIT, Buffer.alloc(8));
}

/** How many bytes an open subvolume may refer to, shared ones included. ENOTCONN where quotas are not enabled. */
export async function limitSubvolume(fd: number, bytes: number): Promise<void> {
  // Group 0: that of the subvolume.
  const argument = Buffer.alloc(48);
  argument.writeBigUInt64LE(BTRFS_QGROUP_LIMIT_MAX_RFER, 8);
  argument.writeBigUInt64LE(BigInt(bytes), 16);
  await ioctl("QGROUP_LIMIT", fd, BTRFS_IOC_QGROUP_LIMIT, argument, [bytes]);
}

/** Removes the quota group of a subvolume that is gone; `fd` is anything on the file system. */
export async function removeQuotaGroup(fd: number, id: bigint): Promise<void> {
  const argument = Buffer.alloc(16);
  argument.writeBigUInt64LE(id, 8);
  await ioctl("QGROUP_CREATE", fd, BTRFS_IOC_QGROUP_CREATE, argument, [id]);
}

/** Is the directory `path` on btrfs? */
export function isBtrfsPath(path: string): boolean {
  using directory = new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
  return isOnBtrfs(directory.number);
}
