/**
 * Copying up: what is in a branch below becomes the writable one's, before it is changed.
 *
 * A copy is made among the orphans and moved to its place when it is whole, so that a crash leaves the old or the new. It
 * has everything the original has: content with its holes, owner, mode, attributes, access lists, times; the directories
 * above are made, and their times stay.
 */

import { copyContent } from "#kernel/copy-syscalls.ts";
import { ERRNO } from "#kernel/errno.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import { encodeDevice, StatusView } from "#kernel/fuse/fuse-reply.ts";
import {
  quickChmod,
  quickChown,
  quickClose,
  quickGetAttribute,
  quickLink,
  quickListAttributes,
  quickMkdir,
  quickMknod,
  quickOpen,
  quickReadlink,
  quickRename,
  quickSetAttribute,
  quickStatus,
  quickSymlink,
  quickSync,
  quickTimes,
  quickUnlink,
} from "#kernel/fuse/quick-calls.ts";
import { decodePath } from "#kernel/path-bytes.ts";
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY } from "#kernel/syscalls.ts";
import { type Copying, readyCopy } from "#storage/union/errands.ts";
import { type HardLink, nameOf } from "#storage/union/hard-links.ts";
import { readEntries } from "#storage/union/listing.ts";
import { exists, findName } from "#storage/union/lookup.ts";
import { isReserved } from "#storage/union/marks.ts";
import { removeOrphan } from "#storage/union/orphans.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { Place, UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** Bytes from which on a copy takes long. */
const LONG = 8 * 1024 * 1024;

const status = new StatusView();
const times = new DataView(new ArrayBuffer(32));
const timesBytes = new Uint8Array(times.buffer);
const names = Buffer.alloc(65_536);
const value = Buffer.alloc(65_536);

/** The directory is in the writable branch afterwards, and so are those above it. */
export function copyUpDirectory(tree: UnionTree, node: UnionNode): void {
  if (!tree.writable) refuse("EROFS");
  if (node.layers[0] === 0) return;
  const { place } = node;
  if (place === undefined || node.hold >= 0) refuse("ENOENT");
  copyUpDirectory(tree, place.parent);
  tree.asRoot();
  const from = tree.directory(place.parent, node.branch);
  checked(quickStatus(from, place.name, status.bytes));
  const made = tree.orphanName();
  checked(quickMkdir(tree.orphans, made, 0o700));
  settle(tree, made, place, () => copyLooks(from, place.name, tree.orphans, made));
  checked(quickStatus(tree.directory(place.parent, 0), place.name, status.bytes));
  tree.numbers.keep(status, node.ino);
  node.layers = [0, ...node.layers];
  node.branch = 0;
  node.inode = status.inode;
}

/**
 * The node's file is in the writable branch afterwards. `empty`: its content is about to be thrown away.
 */
export function copyUp(tree: UnionTree, node: UnionNode, empty = false): void {
  if (!tree.writable) refuse("EROFS");
  if (node.isDirectory) {
    copyUpDirectory(tree, node);
    return;
  }
  if (node.branch === 0) return;
  tree.asRoot();
  const { place } = node;
  if (place === undefined) {
    copyNameless(tree, node, empty);
    return;
  }
  copyUpDirectory(tree, place.parent);
  tree.reach(node);
  const { atDirectory, atName } = tree;
  checked(quickStatus(atDirectory, atName, status.bytes));
  const shared = status.links > 1;
  const link = shared
    ? (node.link ?? tree.links.note(tree.numbers.key(node.branch, node.inode), status.links))
    : undefined;
  const made = isLong(tree, empty)
    ? readyCopy(node, () => beginCopy(tree, node, atDirectory, atName))
    : tree.orphanName();
  if (!isLong(tree, empty)) copyFile(tree, atDirectory, atName, made, empty);
  settle(tree, made, place, () => {
    copyLooks(atDirectory, atName, tree.orphans, made);
    checked(quickStatus(tree.orphans, made, status.bytes));
    if (link !== undefined) {
      quickUnlink(tree.links.directory, nameOf(link));
      checked(quickLink(tree.orphans, made, tree.links.directory, nameOf(link)));
    }
  });
  moved(tree, node);
  if (node.hold >= 0) {
    // Held for a name that was its last for a time.
    quickClose(node.hold);
    node.hold = -1;
  }
  tree.numbers.keep(status, node.ino);
  if (link === undefined) return;
  tree.links.copied(link, status.inode);
  tree.links.cover(link);
  node.link = link;
  tree.nodes.index(node);
  linkSiblings(tree, place.parent, link);
}

/**
 * Names of the same inode stand beside each other nearly always (`gzip` and `gunzip`): those become names of the copy at once,
 * so that who looks at the branch alone finds them all.
 */
function linkSiblings(tree: UnionTree, parent: UnionNode, link: HardLink): void {
  const directory = tree.directory(parent, 0);
  const times = keepTimes(directory);
  for (const branch of parent.layers.slice(1)) {
    if (link.covered >= link.lower) break;
    const names: string[] = [];
    readEntries(tree.directory(parent, branch), (name, _, inode) => {
      if (!isReserved(name) && tree.numbers.key(branch, inode) === link.key) names.push(name);
    });
    for (const name of names) {
      if (exists(directory, name) || findName(tree, parent, name)?.branch !== branch) continue;
      checked(quickLink(tree.links.directory, nameOf(link), directory, name));
      tree.links.cover(link);
    }
  }
  times();
}

/** Is `status` that of a file whose content is better copied by somebody else? Holes are copied here. */
function isLong(tree: UnionTree, empty: boolean): boolean {
  return (
    tree.errands !== undefined &&
    !empty &&
    (status.mode & S_IFMT) === S_IFREG &&
    status.size >= LONG &&
    status.blocks * 512 >= status.size
  );
}

function beginCopy(tree: UnionTree, node: UnionNode, from: number, name: string): Copying {
  const made = tree.orphanName();
  const to = checked(quickOpen(tree.orphans, made, O_WRONLY | O_CREAT | O_EXCL, 0o600));
  const source = openAt(from, name);
  if (source < 0) {
    quickClose(to);
    quickUnlink(tree.orphans, made);
    checked(source);
  }
  const copying: Copying = { made, done: false, ticket: 0 };
  const settled = (errno: number) => {
    if (errno === 0 && node.copying === copying) {
      copying.done = true;
      return;
    }
    if (node.copying === copying) node.copying = undefined;
    if (tree.orphans >= 0) quickUnlink(tree.orphans, made);
  };
  copying.ticket =
    tree.errands?.begin({ kind: "copy", from: source, to }, [source, to], settled) ?? refuse("EIO");
  return copying;
}

function openAt(directory: number, name: string): number {
  return name === ""
    ? quickOpen(-100, `/proc/self/fd/${directory}`, O_RDONLY)
    : quickOpen(directory, name, O_RDONLY | O_NOFOLLOW);
}

/** A file whose last name is gone, but not those who have it open. */
function copyNameless(tree: UnionTree, node: UnionNode, empty: boolean): void {
  const { hold } = node;
  if (hold < 0) refuse("ESTALE");
  checked(quickStatus(hold, "", status.bytes));
  const made = tree.orphanName();
  copyFile(tree, hold, "", made, empty);
  copyLooks(hold, "", tree.orphans, made);
  const fd = checked(quickOpen(tree.orphans, made, O_PATH | O_NOFOLLOW));
  checked(quickStatus(fd, "", status.bytes));
  quickUnlink(tree.orphans, made);
  moved(tree, node);
  quickClose(hold);
  node.hold = fd;
}

/** The node is what `status` says, in the writable branch. */
function moved(tree: UnionTree, node: UnionNode): void {
  tree.nodes.unindex(node);
  node.branch = 0;
  node.inode = status.inode;
  tree.files.moved(node);
  for (const place of node.place === undefined ? [] : [node.place, ...(node.more ?? [])]) {
    tree.listed(place.parent, place.name, node);
  }
}

/** A name of a file that was copied up under another becomes a name of the copy. */
export function materialize(tree: UnionTree, node: UnionNode, { parent, name }: Place): void {
  const { link } = node;
  if (link === undefined || node.branch !== 0 || link.copy === 0) return;
  copyUpDirectory(tree, parent);
  const directory = tree.directory(parent, 0);
  if (exists(directory, name)) return;
  tree.asRoot();
  const times = keepTimes(directory);
  checked(quickLink(tree.links.directory, nameOf(link), directory, name));
  times();
  tree.links.cover(link);
}

/** Moves what was made to its place, after `finish`. It is gone if that fails. */
function settle(tree: UnionTree, made: string, { parent, name }: Place, finish: () => void): void {
  try {
    finish();
    const directory = tree.directory(parent, 0);
    const times = keepTimes(directory);
    checked(quickRename(tree.orphans, made, directory, name));
    times();
  } catch (error) {
    removeOrphan(tree.orphans, made);
    throw error;
  }
}

/** Nothing happened in this directory that anybody should see. */
function keepTimes(directory: number): () => void {
  const before = new StatusView();
  checked(quickStatus(directory, "", before.bytes));
  return () => {
    before.times(times);
    quickTimes(directory, "", timesBytes);
  };
}

/** A new file among the orphans of the kind and with the content of another, whose status is known. */
function copyFile(tree: UnionTree, from: number, name: string, made: string, empty: boolean): void {
  const kind = status.mode & S_IFMT;
  if (kind === S_IFREG) {
    copyRegular(tree, from, name, made, empty);
  } else if (kind === S_IFLNK) {
    const length = checked(quickReadlink(from, name, value));
    checked(quickSymlink(decodePath(value.subarray(0, length)), tree.orphans, made));
  } else {
    const device = encodeDevice(status.rdevMajor, status.rdevMinor);
    checked(quickMknod(tree.orphans, made, kind | 0o600, device));
  }
}

function copyRegular(tree: UnionTree, from: number, name: string, made: string, empty: boolean): void {
  const size = status.size;
  const to = checked(quickOpen(tree.orphans, made, O_WRONLY | O_CREAT | O_EXCL, 0o600));
  let source = -1;
  try {
    if (empty || size === 0) return;
    source = checked(openAt(from, name));
    copyContent(source, to, size, status.blocks * 512 < size);
    // Before it takes its place, as with overlayfs: after a power cut it is there whole, or not at all.
    checked(quickSync(to, true));
  } catch (error) {
    quickUnlink(tree.orphans, made);
    throw error;
  } finally {
    quickClose(to);
    if (source >= 0) quickClose(source);
  }
}

/** Owner, mode, attributes and times, by `status`, which is that of the original. */
function copyLooks(from: number, name: string, to: number, toName: string): void {
  checked(quickChown(to, toName, status.uid, status.gid));
  const isLink = (status.mode & S_IFMT) === S_IFLNK;
  if (!isLink) checked(quickChmod(to, toName, status.mode & 0o7777));
  copyAttributes(from, name, to, toName);
  status.times(times);
  checked(quickTimes(to, toName, timesBytes));
}

function copyAttributes(from: number, name: string, to: number, toName: string): void {
  const length = quickListAttributes(from, name, names);
  if (length === -ERRNO.EOPNOTSUPP || length === 0) return;
  checked(length);
  for (let at = 0; at < length; ) {
    const end = names.indexOf(0, at);
    const key = decodePath(names.subarray(at, end));
    at = end + 1;
    const size = checked(quickGetAttribute(from, name, key, value));
    const result = quickSetAttribute(to, toName, key, value.subarray(0, size), 0);
    if (result < 0 && result !== -ERRNO.EOPNOTSUPP) checked(result);
  }
}
