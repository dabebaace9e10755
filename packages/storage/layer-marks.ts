/**
 * How a layer that holds its own entries alone says what it hides of those below: as overlayfs does, or as AUFS.
 *
 * overlay: a character device 0/0 hides its name, a directory with `trusted.overlay.opaque` all that is below it. AUFS: an
 * empty file `.wh.NAME` hides NAME, `.wh..wh..opq` in a directory all that is below that one; what else begins with
 * `.wh.` is AUFS's own and is never shown. Everybody who reads or makes layers asks here; nothing is cached.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fchownat,
  mknodat,
  S_IFCHR,
  S_IFMT,
  S_IFREG,
  unlinkat,
} from "#kernel/file-syscalls.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, open, tryOpenat } from "#kernel/syscalls.ts";
import { getXattr, setXattr, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { Owner, Whiteouts } from "#storage/driver-types.ts";
import { markerPrefix, opaqueMarker, whiteoutPrefix } from "#storage/unpack/entry-path.ts";

/** What overlayfs reads as: this directory hides those below it. */
const opaqueAttribute = "trusted.overlay.opaque";
const opaqueValue = Buffer.from("y");

/** AUFS's marks are for its own eyes; anybody's right to read them does no harm. */
const markMode = 0o444;

export type NameInLayer =
  | { kind: "entry" }
  /** Hides this name in the layers below. */
  | { kind: "hides"; name: string }
  /** Nobody's business but the file system's. */
  | { kind: "mark" };

const entry: NameInLayer = { kind: "entry" };
const mark: NameInLayer = { kind: "mark" };

/** What a name in a layer's directory stands for. */
export function nameInLayer(whiteouts: Whiteouts, name: string, status: FileStatus): NameInLayer {
  if (isReserved(whiteouts, name)) {
    const hidden = nameBehind(whiteouts, name);
    return hidden === undefined ? mark : { kind: "hides", name: hidden };
  }
  return whiteouts === "overlay" && isWhiteoutDevice(status) ? { kind: "hides", name } : entry;
}

/** Can no entry have this name, because the layer keeps its marks by such names? */
export function isReserved(whiteouts: Whiteouts, name: string): boolean {
  return whiteouts === "aufs" && name.startsWith(whiteoutPrefix);
}

/** The name that a name in a layer's directory speaks of: itself, or what it hides; undefined if it speaks of none. */
export function nameBehind(whiteouts: Whiteouts, name: string): string | undefined {
  if (!isReserved(whiteouts, name)) return name;
  const hidden = name.slice(whiteoutPrefix.length);
  if (name.startsWith(markerPrefix) || hidden === "" || hidden === "." || hidden === "..") return undefined;
  return hidden;
}

/** The name that AUFS hides another by. */
export function aufsWhiteout(name: string): string {
  return whiteoutPrefix + name;
}

/** Is it overlayfs's mark for a name that is gone? */
export function isWhiteoutDevice(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFCHR && status.special.major === 0 && status.special.minor === 0;
}

/** Does a layer hide a name that it has no entry of? Only AUFS has such: overlayfs's mark stands in the name's own place. */
export function hidesAbsent(whiteouts: Whiteouts, directory: FileDescriptor, name: string): boolean {
  return whiteouts === "aufs" && exists(directory.number, aufsWhiteout(name));
}

/** Does the directory hide all that the layers below have in it? */
export function isOpaque(whiteouts: Whiteouts, directory: FileDescriptor): boolean {
  if (whiteouts === "apply") return false;
  if (whiteouts === "aufs") return exists(directory.number, opaqueMarker);
  try {
    using readable = new FileDescriptor(open(directory.procPath, O_RDONLY | O_DIRECTORY));
    return getXattr(readable.number, opaqueAttribute)?.equals(opaqueValue) === true;
  } catch (error) {
    // Without the right to read it, or to see trusted attributes, a layer cannot be ours.
    if (isErrno(error, "EACCES", "EPERM")) return false;
    throw error;
  }
}

/** Hides a name that the layer has no entry of; answers the name of the mark. */
export function makeWhiteout(whiteouts: Whiteouts, directory: number, name: string): string {
  if (whiteouts !== "aufs") {
    mknodat(directory, name, S_IFCHR, 0, 0);
    return name;
  }
  const made = aufsWhiteout(name);
  if (!exists(directory, made)) mknodat(directory, made, S_IFREG | markMode);
  return made;
}

/** Hides all that the layers below have in a directory. `owner`: of the mark, if it becomes a file. */
export function makeOpaque(whiteouts: Whiteouts, directory: number, name = "", owner?: Owner): void {
  if (whiteouts !== "aufs") {
    setXattr(name === "" ? directory : xattrPath(directory, name), opaqueAttribute, opaqueValue);
    return;
  }
  const path = name === "" ? opaqueMarker : `${name}/${opaqueMarker}`;
  if (exists(directory, path)) return;
  mknodat(directory, path, S_IFREG | markMode);
  if (owner !== undefined) fchownat(directory, path, owner.uid, owner.gid);
}

/** An entry takes a name that the layer hid until now; answers whether it did. */
export function takeWhiteoutAway(whiteouts: Whiteouts, directory: number, name: string): boolean {
  if (whiteouts !== "aufs" || !exists(directory, aufsWhiteout(name))) return false;
  unlinkat(directory, aufsWhiteout(name));
  return true;
}

/** A name too long for a mark has none. */
function exists(directory: number, name: string): boolean {
  const fd = tryOpenat(directory, name, O_PATH | O_NOFOLLOW);
  if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENAMETOOLONG || fd === -ERRNO.ENOTDIR) return false;
  if (fd < 0) throw new SyscallError("openat", -fd, [name]);
  new FileDescriptor(fd).close();
  return true;
}
