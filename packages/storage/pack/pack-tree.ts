/**
 * Packs a directory tree into a tar stream: for export (a merged view) and commit (one overlay layer).
 *
 * Walks by descriptors, follows no link, and crosses no mount point. The same tree gives the same bytes: names in
 * the order of their bytes, no access times, no user names. Sockets are left out, they mean nothing elsewhere.
 */
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
import {
  O_DIRECTORY,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  read,
} from "#kernel/syscalls.ts";
import { getXattr, listXattr, xattrPath } from "#kernel/xattr-syscalls.ts";
import type { TarEntry, TarEntryType } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import { opaqueMarker, whiteoutPrefix } from "#storage/unpack/entry-path.ts";

export interface PackOptions {
  /** The tree is one overlay layer: whiteouts and opaque directories become `.wh.` files. */
  overlayLayer?: boolean;
}

interface Walk {
  options: PackOptions;
  /** First path of inodes that have several names. */
  firstPaths: Map<string, string>;
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
  yield* packDirectory(root.number, "", { options, firstPaths: new Map() });
  yield endOfArchive;
}

function* packDirectory(fd: number, path: string, walk: Walk): Generator<Buffer> {
  for (const name of sortedNames(fd)) {
    // Gone since it was listed: the tree of a running container changes.
    const status = fstatatIfExists(fd, name);
    if (status !== undefined) yield* packName(fd, name, path, status, walk);
  }
}

function sortedNames(fd: number): string[] {
  return listDirectory(fd)
    .map((name) => ({ name, bytes: pathBytes(name) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ name }) => name);
}

function* packName(
  parent: number,
  name: string,
  above: string,
  status: FileStatus,
  walk: Walk,
): Generator<Buffer> {
  const type = typeOfMode.get(status.mode & S_IFMT);
  if (type === undefined) return;
  const path = above + name;
  if (walk.options.overlayLayer === true && isWhiteout(status)) {
    yield encodeEntry(markerEntry(`${above}${whiteoutPrefix}${name}`, status));
    return;
  }
  const entry = entryOf(parent, name, path, type, status);
  if (type !== "directory" && status.links > 1) {
    const inode = `${status.device.major}:${status.device.minor}:${status.inode}`;
    const first = walk.firstPaths.get(inode);
    if (first !== undefined) {
      yield encodeEntry({ ...entry, type: "hardlink", linkName: first, size: 0, xattrs: new Map() });
      return;
    }
    walk.firstPaths.set(inode, path);
  }
  if (type === "file") yield* packFile(parent, name, entry);
  else if (type === "directory") yield* packSubdirectory(parent, name, entry, walk);
  else yield encodeEntry(entry);
}

function* packSubdirectory(parent: number, name: string, entry: TarEntry, walk: Walk): Generator<Buffer> {
  yield encodeEntry(entry);
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  using child = new FileDescriptor(openat2(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, resolve));
  if (
    walk.options.overlayLayer === true &&
    getXattr(child.number, "trusted.overlay.opaque")?.toString() === "y"
  ) {
    yield encodeEntry(markerEntry(`${entry.name}/${opaqueMarker}`, fstat(child.number)));
  }
  yield* packDirectory(child.number, `${entry.name}/`, walk);
}

function* packFile(parent: number, name: string, entry: TarEntry): Generator<Buffer> {
  using file = new FileDescriptor(openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  const size = fstat(file.number).size;
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

function entryOf(
  parent: number,
  name: string,
  path: string,
  type: TarEntryType,
  status: FileStatus,
): TarEntry {
  const device = type === "character-device" || type === "block-device";
  return {
    type,
    name: path,
    linkName: type === "symlink" ? readlinkat(parent, name) : "",
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    userName: "",
    groupName: "",
    size: type === "file" ? status.size : 0,
    modifiedAt: status.modifiedAt,
    major: device ? status.special.major : 0,
    minor: device ? status.special.minor : 0,
    xattrs: attributesOf(xattrPath(parent, name)),
  };
}

/** Attributes that mean the same on another host. */
function attributesOf(path: string): Map<string, Buffer> {
  const attributes = new Map<string, Buffer>();
  for (const name of listXattr(path)) {
    if (name !== "security.capability" && !name.startsWith("user.")) continue;
    if (name.startsWith("user.overlay.")) continue;
    const value = getXattr(path, name);
    if (value !== undefined) attributes.set(name, value);
  }
  return attributes;
}

function isWhiteout(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFCHR && status.special.major === 0 && status.special.minor === 0;
}

/** An empty file whose name is what matters. */
function markerEntry(name: string, status: FileStatus): TarEntry {
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
    modifiedAt: status.modifiedAt,
    major: 0,
    minor: 0,
    xattrs: new Map(),
  };
}
