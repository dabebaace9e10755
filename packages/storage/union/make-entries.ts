/**
 * Making things: files, directories, links, devices. They are made in the writable branch, as the caller's, and take the
 * place of a whiteout where one stands there.
 */
import { ERRNO } from "#kernel/errno.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import {
  quickClose,
  quickLink,
  quickLinkOpen,
  quickMkdir,
  quickMknod,
  quickOpen,
  quickRename,
  quickStatus,
  quickSymlink,
  quickUnlink,
} from "#kernel/fuse/quick-calls.ts";
import { AT_REMOVEDIR, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDWR } from "#kernel/syscalls.ts";
import { copyUp, copyUpDirectory } from "#storage/union/copy-up.ts";
import { exists } from "#storage/union/lookup.ts";
import { isReserved, OPAQUE, OPAQUE_MODE, OWN, WHITEOUT } from "#storage/union/marks.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** Whose a new thing is, and what its mode is masked with. */
export interface Maker {
  uid: number;
  gid: number;
  umask: number;
}

/** O_TMPFILE without O_DIRECTORY, which differs between machines. */
const O_TMPFILE = 0o20000000 | O_DIRECTORY;

/** Makes a regular file and opens it; answers its node (status in `tree.status`) and the descriptor. */
export function makeFile(
  tree: UnionTree,
  parent: UnionNode,
  name: string,
  mode: number,
  maker: Maker,
): { node: UnionNode; fd: number } {
  const directory = placeFor(tree, parent, name);
  const fd = byMaker(tree, maker, () =>
    quickOpen(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode & 0o7777),
  );
  // The kernel did not know of it: it looks again.
  if (fd === -ERRNO.EEXIST) refuse("ESTALE");
  checked(fd);
  takeWhiteout(tree, parent, name);
  return { node: made(tree, parent, name, fd), fd };
}

/** A file that has no name until somebody links it. */
export function makeNameless(
  tree: UnionTree,
  parent: UnionNode,
  mode: number,
  maker: Maker,
): { node: UnionNode; fd: number } {
  if (!tree.writable) refuse("EROFS");
  copyUpDirectory(tree, parent);
  const directory = tree.directory(parent, 0);
  const fd = checked(
    byMaker(tree, maker, () => quickOpen(directory, ".", O_TMPFILE | O_RDWR, mode & 0o7777)),
  );
  checked(quickStatus(fd, "", tree.status.bytes));
  const node = tree.nodes.make(S_IFREG, tree.numbers.of(0, tree.status), 0, tree.status.inode);
  node.hold = checked(quickOpen(-100, `/proc/self/fd/${fd}`, O_PATH));
  return { node, fd };
}

export function makeDirectory(
  tree: UnionTree,
  parent: UnionNode,
  name: string,
  mode: number,
  maker: Maker,
): UnionNode {
  const directory = placeFor(tree, parent, name);
  const hidden = parent.layers.length > 1 && exists(directory, WHITEOUT + name);
  if (!hidden) {
    checked(byMaker(tree, maker, () => quickMkdir(directory, name, mode & 0o7777)));
    return made(tree, parent, name);
  }
  // Opaque before it is seen: what it takes the place of would show through. Beside its place, not among the orphans,
  // so that it inherits what the directory above hands down.
  const temporary = `${OWN}${tree.orphanName()}`;
  checked(byMaker(tree, maker, () => quickMkdir(directory, temporary, mode & 0o7777)));
  try {
    checked(quickMknod(directory, `${temporary}/${OPAQUE}`, S_IFREG | OPAQUE_MODE));
    checked(quickRename(directory, temporary, directory, name));
  } catch (error) {
    quickUnlink(directory, `${temporary}/${OPAQUE}`);
    quickUnlink(directory, temporary, AT_REMOVEDIR);
    throw error;
  }
  takeWhiteout(tree, parent, name);
  return made(tree, parent, name);
}

/** Makes a device, a fifo, a socket or an empty file. */
export function makeNode(
  tree: UnionTree,
  parent: UnionNode,
  name: string,
  mode: number,
  device: number,
  maker: Maker,
): UnionNode {
  const directory = placeFor(tree, parent, name);
  checked(byMaker(tree, maker, () => quickMknod(directory, name, mode, device)));
  takeWhiteout(tree, parent, name);
  return made(tree, parent, name);
}

export function makeSymlink(
  tree: UnionTree,
  parent: UnionNode,
  name: string,
  target: string,
  maker: Maker,
): UnionNode {
  const directory = placeFor(tree, parent, name);
  checked(byMaker(tree, maker, () => quickSymlink(target, directory, name)));
  takeWhiteout(tree, parent, name);
  return made(tree, parent, name);
}

/** Gives a file a further name; its status is in `tree.status`. */
export function makeLink(tree: UnionTree, node: UnionNode, parent: UnionNode, name: string): void {
  if (node.isDirectory) refuse("EPERM");
  const directory = placeFor(tree, parent, name);
  copyUp(tree, node);
  tree.reach(node);
  const { atDirectory, atName } = tree;
  checked(
    atName === ""
      ? quickLinkOpen(atDirectory, directory, name)
      : quickLink(atDirectory, atName, directory, name),
  );
  takeWhiteout(tree, parent, name);
  tree.nodes.addPlace(node, parent, name);
  tree.nodes.index(node);
  if (node.hold >= 0) {
    // It had none: now it has.
    quickClose(node.hold);
    node.hold = -1;
  }
  tree.listed(parent, name, node);
  tree.look(node);
}

/** The directory in the writable branch where a name may be made. */
export function placeFor(tree: UnionTree, parent: UnionNode, name: string): number {
  if (!tree.writable) refuse("EROFS");
  if (isReserved(name)) refuse("EPERM");
  if (parent.hold >= 0) refuse("ENOENT");
  copyUpDirectory(tree, parent);
  return tree.directory(parent, 0);
}

function byMaker(tree: UnionTree, { uid, gid, umask }: Maker, make: () => number): number {
  tree.as(uid, gid, umask);
  try {
    return make();
  } finally {
    tree.asRoot();
  }
}

/** A name that is there again need not be hidden. One that stays does no harm: what is above it counts. */
export function takeWhiteout(tree: UnionTree, parent: UnionNode, name: string): void {
  if (parent.layers.length > 1) quickUnlink(tree.directory(parent, 0), WHITEOUT + name);
}

/** The node of what was made; its status is in `tree.status`. */
function made(tree: UnionTree, parent: UnionNode, name: string, fd = -1): UnionNode {
  const { status, nodes } = tree;
  if (fd >= 0) checked(quickStatus(fd, "", status.bytes));
  else checked(quickStatus(tree.directory(parent, 0), name, status.bytes));
  const kind = status.mode & S_IFMT;
  const node = nodes.make(kind, tree.numbers.of(0, status), 0, status.inode);
  if (kind === S_IFDIR) node.layers = [0];
  nodes.addPlace(node, parent, name);
  tree.listed(parent, name, node);
  return node;
}
