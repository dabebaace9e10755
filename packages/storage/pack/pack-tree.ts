/**
 * Packs a directory tree into a tar stream: for export (a merged view) and commit (one layer with its marks).
 *
 * Walks by descriptors, follows no link, and crosses no mount point. The same tree gives the same bytes: names in
 * the order of their bytes, no access times, no user names. Sockets are left out, they mean nothing elsewhere.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fstat,
  fstatatIfExists,
  listDirectory,
  readlinkat,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "#kernel/file-syscalls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import {
  O_DIRECTORY,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  read,
  tryOpenat,
  tryOpenat2,
} from "#kernel/syscalls.ts";
import { getXattr, listXattr, type XattrSubject, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { Owner, Whiteouts } from "#storage/driver-types.ts";
import { isOpaque, isReserved, isWhiteoutDevice, nameBehind } from "#storage/layer-marks.ts";
import type { TarEntry, TarEntryType } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import { opaqueMarker, whiteoutPrefix } from "#storage/unpack/entry-path.ts";

export interface PackOptions {
  /** The tree is one layer with such marks: they become `.wh.` files. By default it has none. */
  whiteouts?: Whiteouts;
  /** Go on into what is mounted below, too. */
  crossMounts?: boolean;
  /** Whom the archive names for an owner on the host (`unpack/id-map.ts`); without it, that one. */
  ownerFor?: (owner: Owner) => Owner;
}

const contentChunk = 256 * 1024;
const typeOfMode = new Map<number, TarEntryType>([
  [S_IFREG, "file"],
  [S_IFDIR, "directory"],
  [S_IFLNK, "symlink"],
  [S_IFCHR, "character-device"],
  [S_IFBLK, "block-device"],
  [S_IFIFO, "fifo"],
]);

/** Yields the bytes of an archive of everything below `directory` (a path of the host; the directory itself is not an entry). */
export function* packTree(directory: string, options: PackOptions = {}): Generator<Buffer> {
  using root = new FileDescriptor(open(directory, O_RDONLY | O_DIRECTORY));
  yield* new TreePacker(options).children(root.number, "");
  yield endOfArchive;
}

/** Packs parts of trees into one archive, whose end is the caller's to write. */
export class TreePacker {
  readonly #options: PackOptions;
  readonly #whiteouts: Whiteouts;
  /** First path of inodes that have several names. */
  readonly #firstPaths = new Map<string, string>();

  constructor(options: PackOptions = {}) {
    this.#options = options;
    this.#whiteouts = options.whiteouts ?? "apply";
  }

  /** Everything in an open directory; names in the archive begin with `above`. */
  *children(fd: number, above: string): Generator<Buffer> {
    for (const { name, shown } of this.#sortedNames(fd)) {
      // Gone since it was listed: the tree of a running container changes.
      const status = fstatatIfExists(fd, name);
      if (status === undefined) continue;
      if (isReserved(this.#whiteouts, name)) {
        if (shown !== undefined) yield packWhiteout(`${above}${shown}`, status.modifiedAt);
        continue;
      }
      yield* this.entry(fd, name, `${above}${name}`, status);
      if ((status.mode & S_IFMT) === S_IFDIR) yield* this.#subdirectory(fd, name, `${above}${name}`);
    }
  }

  /** An open directory with everything in it, under another name: "." or "/" or one without slashes at its ends. */
  *directory(fd: number, path: string): Generator<Buffer> {
    yield encodeEntry(this.#entryOf(fd, path, "directory", fstat(fd)));
    yield* this.children(fd, path.endsWith("/") ? path : `${path}/`);
  }

  /** One name in an open directory as the entry `path`; of a directory not what is in it. Sockets are passed over. */
  *entry(parent: number, name: string, path: string, status: FileStatus): Generator<Buffer> {
    const type = typeOfMode.get(status.mode & S_IFMT);
    if (type === undefined) return;
    if (this.#whiteouts === "overlay" && isWhiteoutDevice(status)) {
      yield packWhiteout(path, status.modifiedAt);
      return;
    }
    const entry = this.#entryOf(xattrPath(parent, name), path, type, status);
    if (type === "symlink") {
      const target = linkTarget(parent, name);
      if (target === undefined) return;
      entry.linkName = target;
    }
    if (type !== "directory" && status.links > 1) {
      const inode = `${status.device.major}:${status.device.minor}:${status.inode}`;
      const first = this.#firstPaths.get(inode);
      if (first !== undefined) {
        yield encodeEntry({ ...entry, type: "hardlink", linkName: first, size: 0, xattrs: new Map() });
        return;
      }
      this.#firstPaths.set(inode, path);
    }
    if (type === "file") yield* packFile(parent, name, entry);
    else yield encodeEntry(entry);
  }

  /** Names in the order of what they stand for; `shown` is missing for what stands for nothing. */
  #sortedNames(fd: number): { name: string; shown: string | undefined }[] {
    return listDirectory(fd)
      .map((name) => {
        const shown = nameBehind(this.#whiteouts, name);
        return { name, shown, bytes: pathBytes(shown ?? name) };
      })
      .sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  }

  #entryOf(subject: XattrSubject, path: string, type: TarEntryType, status: FileStatus): TarEntry {
    const { ownerFor } = this.#options;
    return { ...entryOf(subject, path, type, status), ...ownerFor?.({ uid: status.uid, gid: status.gid }) };
  }

  *#subdirectory(parent: number, name: string, path: string): Generator<Buffer> {
    const crossing = this.#options.crossMounts === true ? 0 : RESOLVE_NO_XDEV;
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | crossing;
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const fd = tryOpenat2(parent, name, flags, 0, resolve);
    // It went, or became something else, meanwhile; or it is another file system that was not asked for.
    if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP || fd === -ERRNO.EXDEV) return;
    if (fd < 0) throw new SyscallError("openat2", -fd, [name]);
    using child = new FileDescriptor(fd);
    if (isOpaque(this.#whiteouts, child)) {
      yield encodeEntry(markerEntry(`${path}/${opaqueMarker}`, fstat(child.number).modifiedAt));
    }
    yield* this.children(child.number, `${path}/`);
  }
}

/** The entry that says that `path` is gone, in a layer's archive. */
export function packWhiteout(path: string, modifiedAt: bigint): Buffer {
  const slash = path.lastIndexOf("/") + 1;
  return encodeEntry(markerEntry(`${path.slice(0, slash)}${whiteoutPrefix}${path.slice(slash)}`, modifiedAt));
}

function* packFile(parent: number, name: string, entry: TarEntry): Generator<Buffer> {
  const fd = tryOpenat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd === -ERRNO.ENOENT || fd === -ERRNO.ELOOP) return; // as above
  if (fd < 0) throw new SyscallError("openat", -fd, [name]);
  using file = new FileDescriptor(fd);
  const { size, mode } = fstat(file.number);
  // Something else by now: what a device or fifo says is no content.
  if ((mode & S_IFMT) !== S_IFREG) return;
  yield encodeEntry({ ...entry, size });
  let left = size;
  while (left > 0) {
    const chunk = Buffer.allocUnsafe(Math.min(left, contentChunk));
    const length = read(file.number, chunk);
    // It shrank while it was read: the header has promised these bytes.
    yield length === 0 ? chunk.fill(0) : chunk.subarray(0, length);
    left -= length === 0 ? chunk.length : length;
  }
  yield paddingFor(size);
}

/** Undefined for one that went, or became something else, meanwhile. */
function linkTarget(parent: number, name: string): string | undefined {
  try {
    return readlinkat(parent, name);
  } catch (error) {
    if (isErrno(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}

/** `attributes`: what its extended attributes are read by. A link's target is the caller's to fill in. */
function entryOf(attributes: XattrSubject, path: string, type: TarEntryType, status: FileStatus): TarEntry {
  const device = type === "character-device" || type === "block-device";
  return {
    type,
    name: path,
    linkName: "",
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    userName: "",
    groupName: "",
    size: type === "file" ? status.size : 0,
    modifiedAt: status.modifiedAt,
    major: device ? status.special.major : 0,
    minor: device ? status.special.minor : 0,
    xattrs: attributesOf(attributes),
  };
}

/** Attributes that mean the same on another host. */
function attributesOf(subject: XattrSubject): Map<string, Buffer> {
  const attributes = new Map<string, Buffer>();
  try {
    for (const name of listXattr(subject)) {
      if (name !== "security.capability" && !name.startsWith("user.")) continue;
      if (name.startsWith("user.overlay.")) continue;
      const value = getXattr(subject, name);
      if (value !== undefined) attributes.set(name, value);
    }
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // gone meanwhile: so are its attributes
  }
  return attributes;
}

/** An empty file whose name is what matters. */
function markerEntry(name: string, modifiedAt: bigint): TarEntry {
  return {
    type: "file",
    name,
    linkName: "",
    mode: 0,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    size: 0,
    modifiedAt,
    major: 0,
    minor: 0,
    xattrs: new Map(),
  };
}
