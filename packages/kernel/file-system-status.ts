/**
 * What file system a directory is on: kind, space, and whether listing it tells types.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";

const cFstatfs = libcFunction("int fstatfs(int fd, void *out)");
const cGetdents64 = libcFunction("long syscall(long nr, long fd, void *out, long size)");
/** One of the few numbers that differ between the architectures. */
const SYS_getdents64 = process.arch === "arm64" ? 61 : 217;
const DT_UNKNOWN = 0;

/**
 * Does the file system tell entries' types when listing (d_type)? Reads the first entries of an open directory, which
 * should hold a file or directory.
 */
export function listsTypes(fd: number): boolean {
  const out = Buffer.alloc(4096);
  const length = cGetdents64(SYS_getdents64, fd, out, out.length);
  if (length < 0) fail("getdents64", [fd]);
  // struct linux_dirent64: inode (8), offset (8), record length (2), type (1), name.
  for (let at = 0; at < length; at += out.readUInt16LE(at + 16)) {
    if (out[at + 18] === DT_UNKNOWN) return false;
  }
  return true;
}

/** Magic numbers of file systems, linux/magic.h, with the names docker info shows. */
const fileSystemNames = new Map<number, string>([
  [0x61756673, "aufs"],
  [0x9123683e, "btrfs"],
  [0x28cd3d45, "cramfs"],
  [0xf15f, "ecryptfs"],
  [0xef53, "extfs"],
  [0xf2f52010, "f2fs"],
  [0x65735546, "fuse"],
  [0x01161970, "gpfs"],
  [0x3153464a, "jfs"],
  [0x6969, "nfs"],
  [0x794c7630, "overlayfs"],
  [0x52654973, "reiserfs"],
  [0x517b, "smb"],
  [0x73717368, "squashfs"],
  [0x01021994, "tmpfs"],
  [0x565a4653, "vxfs"],
  [0x58465342, "xfs"],
  [0x2fc12fc1, "zfs"],
  [0x63677270, "cgroup2"],
  [0x27e0eb, "cgroup"],
  [0x9fa0, "proc"],
  [0x6e736673, "nsfs"],
]);

const ST_RDONLY = 1n;
const ST_NODEV = 4n;
const ST_NOEXEC = 8n;

export interface FileSystemStatus {
  /** Magic number. */
  type: number;
  /** "extfs", "xfs" …; "<unknown>" for a number without a name here. */
  name: string;
  blockSize: number;
  blocks: number;
  blocksAvailable: number;
  files: number;
  filesFree: number;
  /** It, or this mount of it, may not be written to. */
  readOnly: boolean;
  /** This mount of it has no device files, or runs no programs. */
  noDevices: boolean;
  noPrograms: boolean;
}

/** Decodes `struct statfs` of 64-bit kernels. */
export function decodeStatfs(bytes: Buffer): FileSystemStatus {
  const type = Number(bytes.readBigUInt64LE(0) & 0xffffffffn);
  return {
    type,
    name: fileSystemNames.get(type) ?? "<unknown>",
    blockSize: Number(bytes.readBigUInt64LE(8)),
    blocks: Number(bytes.readBigUInt64LE(16)),
    blocksAvailable: Number(bytes.readBigUInt64LE(32)),
    files: Number(bytes.readBigUInt64LE(40)),
    filesFree: Number(bytes.readBigUInt64LE(48)),
    readOnly: (bytes.readBigUInt64LE(80) & ST_RDONLY) !== 0n,
    noDevices: (bytes.readBigUInt64LE(80) & ST_NODEV) !== 0n,
    noPrograms: (bytes.readBigUInt64LE(80) & ST_NOEXEC) !== 0n,
  };
}

/** The file system a directory is on. */
export function statfs(directory: string): FileSystemStatus {
  using opened = new FileDescriptor(open(directory, O_RDONLY | O_DIRECTORY));
  return fstatfs(opened.number);
}

/** The file system an open file is on. */
export function fstatfs(fd: number): FileSystemStatus {
  const out = Buffer.alloc(120);
  if (cFstatfs(fd, out) < 0) fail("fstatfs", [fd]);
  return decodeStatfs(out);
}
