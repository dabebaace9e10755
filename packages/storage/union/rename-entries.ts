/**
 * Renaming. Files may come from any branch: they are copied up first. Directories move if all that they show is in the
 * writable branch; of others it is said that they are on another device (EXDEV), and `mv` copies them, as on overlayfs.
 *
 * Order makes it safe: what the old name would show from below is hidden first, then one rename(2) of the kernel decides,
 * and marks that have lost their meaning go last.
 */
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFREG } from "#kernel/file-syscalls.ts";
import { quickMknod, quickRename } from "#kernel/fuse/quick-calls.ts";
import { copyUp, materialize } from "#storage/union/copy-up.ts";
import { exists, findBelow, nodeAt, nodeThere } from "#storage/union/lookup.ts";
import { placeFor, takeWhiteout } from "#storage/union/make-entries.ts";
import { OPAQUE, OPAQUE_MODE } from "#storage/union/marks.ts";
import { removeOrphan } from "#storage/union/orphans.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import { coverLower, gone, hide, leave, left, requireEmpty } from "#storage/union/remove-entries.ts";
import type { Place, UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

export function rename(tree: UnionTree, from: Place, to: Place, flags: number): void {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) refuse("EINVAL");
  const node = nodeThere(tree, from.parent, from.name);
  const target = nodeAt(tree, to.parent, to.name);
  if ((flags & RENAME_NOREPLACE) !== 0 && target !== undefined) refuse("EEXIST");
  if ((flags & RENAME_EXCHANGE) !== 0) {
    if (target === undefined) refuse("ENOENT");
    exchange(tree, node, from, target, to);
    return;
  }
  if (target === node) return;
  if (target !== undefined) {
    if (node.isDirectory && !target.isDirectory) refuse("ENOTDIR");
    if (!node.isDirectory && target.isDirectory) refuse("EISDIR");
  }
  if (node.isDirectory) requireMovable(tree, node);
  if (target?.isDirectory === true) requireEmpty(tree, target);
  const into = placeFor(tree, to.parent, to.name);
  comeUp(tree, node, from);
  hide(tree, from.parent, from.name);
  const outOf = tree.directory(from.parent, 0);
  if (node.isDirectory) {
    moveDirectory(tree, outOf, from, into, to, target);
  } else {
    moveFile(tree, outOf, from, into, to, target);
  }
  takeWhiteout(tree, to.parent, to.name);
  tree.nodes.dropPlace(node, from.parent, from.name);
  tree.listed(from.parent, from.name, undefined);
  tree.nodes.addPlace(node, to.parent, to.name);
  tree.listed(to.parent, to.name, node);
}

/** What is renamed has its name in the writable branch. */
function comeUp(tree: UnionTree, node: UnionNode, place: Place): void {
  if (node.isDirectory) return;
  if (node.branch !== 0) {
    // The copy takes this one of its names.
    focus(node, place);
    copyUp(tree, node);
  }
  materialize(tree, node, place);
}

/** Makes a place the first of a node's. */
function focus(node: UnionNode, { parent, name }: Place): void {
  const { place, more } = node;
  if (place === undefined || more === undefined || (place.parent === parent && place.name === name)) return;
  const at = more.findIndex((other) => other.parent === parent && other.name === name);
  if (at < 0) return;
  node.place = more[at];
  more[at] = place;
}

function requireMovable(tree: UnionTree, node: UnionNode): void {
  if (!tree.writable) refuse("EROFS");
  if (node.layers.length !== 1 || node.layers[0] !== 0) refuse("EXDEV");
}

function moveFile(
  tree: UnionTree,
  outOf: number,
  from: Place,
  into: number,
  to: Place,
  target: UnionNode | undefined,
): void {
  if (target === undefined) {
    checked(quickRename(outOf, from.name, into, to.name));
    return;
  }
  tree.look(target);
  const links = tree.linksOf(target);
  const covers = !exists(into, to.name) && findBelow(tree, to.parent, to.name) !== undefined;
  leave(tree, target, links);
  checked(quickRename(outOf, from.name, into, to.name));
  if (covers) coverLower(tree, target);
  left(tree, target, to.parent, to.name, links);
}

function moveDirectory(
  tree: UnionTree,
  outOf: number,
  from: Place,
  into: number,
  to: Place,
  target: UnionNode | undefined,
): void {
  if (findBelow(tree, to.parent, to.name) !== undefined) makeOpaque(tree, outOf, from.name);
  if (target === undefined) {
    checked(quickRename(outOf, from.name, into, to.name));
    return;
  }
  tree.hold(target);
  if (target.layers[0] === 0) {
    // What is there may hold marks, and a directory takes the place of empty ones alone.
    checked(quickRename(outOf, from.name, into, to.name, RENAME_EXCHANGE));
    const orphan = tree.orphanName();
    checked(quickRename(outOf, from.name, tree.orphans, orphan));
    removeOrphan(tree.orphans, orphan);
    tree.numbers.drop(target.inode);
  } else {
    checked(quickRename(outOf, from.name, into, to.name));
  }
  gone(tree, target, to.parent, to.name);
}

/** What is below the place where the directory comes to be does not show through it. */
function makeOpaque(tree: UnionTree, parent: number, name: string): void {
  tree.asRoot();
  const mark = `${name}/${OPAQUE}`;
  if (!exists(parent, mark)) checked(quickMknod(parent, mark, S_IFREG | OPAQUE_MODE));
}

function exchange(tree: UnionTree, one: UnionNode, from: Place, other: UnionNode, to: Place): void {
  if (one === other) return;
  for (const node of [one, other]) if (node.isDirectory) requireMovable(tree, node);
  const into = placeFor(tree, to.parent, to.name);
  const outOf = placeFor(tree, from.parent, from.name);
  comeUp(tree, one, from);
  comeUp(tree, other, to);
  if (one.isDirectory && findBelow(tree, to.parent, to.name) !== undefined)
    makeOpaque(tree, outOf, from.name);
  if (other.isDirectory && findBelow(tree, from.parent, from.name) !== undefined) {
    makeOpaque(tree, into, to.name);
  }
  checked(quickRename(outOf, from.name, into, to.name, RENAME_EXCHANGE));
  const { nodes } = tree;
  nodes.dropPlace(one, from.parent, from.name);
  nodes.dropPlace(other, to.parent, to.name);
  nodes.addPlace(one, to.parent, to.name);
  nodes.addPlace(other, from.parent, from.name);
  tree.listed(to.parent, to.name, one);
  tree.listed(from.parent, from.name, other);
}
