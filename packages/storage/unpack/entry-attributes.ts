/**
 * Owners, extended attributes, modes and times of unpacked entries: which are set, which are left out, and in which order.
 */
import { ERRNO } from "#kernel/errno.ts";
import { fchmod, fchmodat, fchown, fchownat, utimensat } from "#kernel/file-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { setXattr, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import type { OpenDirectory } from "#storage/unpack/open-directories.ts";

/** Attributes by which overlayfs redirects and merges directories: from an archive they could reach other layers. */
function isOverlayAttribute(name: string): boolean {
  return name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.");
}

/** New files belong to the process's user and, below a set-group-id directory, to that directory's group. */
export function mustChown(entry: TarEntry, parent: OpenDirectory): boolean {
  return entry.uid !== 0 || entry.gid !== 0 || parent.setGroupId || runsUnprivileged;
}

const runsUnprivileged = process.geteuid?.() !== 0 || process.getegid?.() !== 0;

export function applyXattrs(subject: number | string, entry: TarEntry): void {
  for (const [name, value] of entry.xattrs) {
    if (isOverlayAttribute(name)) continue;
    try {
      setXattr(subject, name, value);
    } catch (error) {
      // File systems without this kind of attribute, and user attributes on links and devices: as Docker, done without.
      if (!(error instanceof SyscallError)) throw error;
      const unsupported = error.errno === ERRNO.EOPNOTSUPP;
      if (!unsupported && !(error.errno === ERRNO.EPERM && name.startsWith("user."))) throw error;
    }
  }
}

/** Looks of an open directory, but for its times. */
export function dressDirectory(fd: number, entry: TarEntry): void {
  fchown(fd, entry.uid, entry.gid);
  applyXattrs(fd, entry);
  fchmod(fd, entry.mode);
}

/** Looks of an open new file whose content is there, but for its times. */
export function dressFile(fd: number, entry: TarEntry, parent: OpenDirectory): void {
  // In this order: a change of owner takes capabilities and set-id bits away.
  if (mustChown(entry, parent)) fchown(fd, entry.uid, entry.gid);
  applyXattrs(fd, entry);
  if ((entry.mode & 0o7000) !== 0) fchmod(fd, entry.mode);
}

/** Looks of a new link or device, which cannot be opened. */
export function dressNode(parent: OpenDirectory, name: string, entry: TarEntry): void {
  if (mustChown(entry, parent)) fchownat(parent.fd, name, entry.uid, entry.gid);
  applyXattrs(xattrPath(parent.fd, name), entry);
  if (entry.type !== "symlink" && (entry.mode & 0o7000) !== 0) fchmodat(parent.fd, name, entry.mode);
  utimensat(parent.fd, name, entry.accessedAt ?? entry.modifiedAt, entry.modifiedAt);
}
