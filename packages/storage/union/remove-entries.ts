/**
 * Removing names. What shows from below is hidden by a whiteout, and that before what is above it goes: a crash in between
 * leaves the name as it was.
 */
import { ERRNO } from "#kernel/errno.ts";
import { S_IFREG } from "#kernel/file-syscalls.ts";
import { quickMknod, quickRename, quickUnlink } from "#kernel/fuse/quick-calls.ts";
import { AT_REMOVEDIR } from "#kernel/syscalls.ts";
import { copyUpDirectory } from "#storage/union/copy-up.ts";
import { Listing } from "#storage/union/listing.ts";
import { findBelow, nodeThere } from "#storage/union/lookup.ts";
import { OPAQUE_MODE, WHITEOUT } from "#storage/union/marks.ts";
import { removeOrphan } from "#storage/union/orphans.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** Removes a name of something that is no directory. */
export function removeName(tree: UnionTree, parent: UnionNode, name: string): void {
  const node = nodeThere(tree, parent, name);
  if (node.isDirectory) refuse("EISDIR");
  const links = tree.linksOf(node);
  const lower = hide(tree, parent, name);
  leave(tree, node, links);
  if (parent.layers[0] === 0) {
    const result = quickUnlink(tree.directory(parent, 0), name);
    if (result !== -ERRNO.ENOENT) checked(result);
    if (result === -ERRNO.ENOENT && lower) coverLower(tree, node);
  }
  left(tree, node, parent, name, links);
}

/** Before a name goes: where it may be the last, who has the file open keeps it. */
export function leave(tree: UnionTree, node: UnionNode, links: number): void {
  if (links <= 1 || node.more === undefined) tree.hold(node);
}

/** After it is gone. */
export function left(tree: UnionTree, node: UnionNode, parent: UnionNode, name: string, links: number): void {
  tree.nodes.dropPlace(node, parent, name);
  tree.listed(parent, name, undefined);
  if (links <= 1 && node.branch === 0) {
    tree.numbers.drop(node.inode);
    if (node.link !== undefined && node.link.copy !== 0) {
      tree.nodes.unindex(node);
      tree.links.dropCopy(node.link);
    }
  }
  tree.nodes.settle(node);
}

/** A name that was that of the inode below shows it no longer. */
export function coverLower(tree: UnionTree, node: UnionNode): void {
  if (node.link === undefined) {
    const links = tree.scratch.links;
    if (node.branch === 0 || links < 2) return;
    node.link = tree.links.note(tree.numbers.key(node.branch, node.inode), links);
  }
  tree.links.cover(node.link);
}

/** Hides what would show from below; answers whether there is something, whose status is in `tree.scratch` then. */
export function hide(tree: UnionTree, parent: UnionNode, name: string): boolean {
  if (!tree.writable) refuse("EROFS");
  if (parent.layers.length === 1 && parent.layers[0] === 0) return false;
  if (findBelow(tree, parent, name) === undefined) return false;
  copyUpDirectory(tree, parent);
  tree.asRoot();
  const result = quickMknod(tree.directory(parent, 0), WHITEOUT + name, S_IFREG | OPAQUE_MODE);
  if (result !== -ERRNO.EEXIST) checked(result);
  return true;
}

/** Removes an empty directory. */
export function removeDirectory(tree: UnionTree, parent: UnionNode, name: string): void {
  const node = nodeThere(tree, parent, name);
  if (!node.isDirectory) refuse("ENOTDIR");
  requireEmpty(tree, node);
  hide(tree, parent, name);
  tree.hold(node);
  if (node.layers[0] === 0) {
    const directory = tree.directory(parent, 0);
    if (quickUnlink(directory, name, AT_REMOVEDIR) !== 0) {
      // It holds marks.
      const orphan = tree.orphanName();
      checked(quickRename(directory, name, tree.orphans, orphan));
      removeOrphan(tree.orphans, orphan);
    }
    tree.numbers.drop(node.inode);
  }
  gone(tree, node, parent, name);
}

/** A directory that has no place any more, and nothing in it. */
export function gone(tree: UnionTree, node: UnionNode, parent: UnionNode, name: string): void {
  tree.directories.drop(node, node.layers);
  node.layers = [];
  node.listing = undefined;
  tree.nodes.dropPlace(node, parent, name);
  tree.listed(parent, name, undefined);
  tree.nodes.settle(node);
}

export function requireEmpty(tree: UnionTree, node: UnionNode): void {
  const listing = node.listing ?? Listing.read(node.layers, (branch) => tree.directory(node, branch));
  if (listing.length > 0) refuse("ENOTEMPTY");
}
