/**
 * Owners and extended attributes of unpacked entries: which are set, which are left out.
 */
import { ERRNO } from "#kernel/errno.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { setXattr } from "#kernel/xattr-syscalls.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import type { OpenDirectory } from "#storage/unpack/open-directories.ts";

/** What overlayfs reads as: this directory hides those below it. */
export const opaqueAttribute = "trusted.overlay.opaque";
export const opaqueValue = Buffer.from("y");

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
