/**
 * What a name in a directory of a union stands for: looked for from the uppermost branch down, as the marks say.
 */
import { ERRNO } from "#kernel/errno.ts";
import { S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import type { StatusView } from "#kernel/fuse/fuse-reply.ts";
import { quickStatus } from "#kernel/fuse/quick-calls.ts";
import { nameOf } from "#storage/union/hard-links.ts";
import { isReserved, OPAQUE, WHITEOUT } from "#storage/union/marks.ts";
import { checked, Refused, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** What was found; its status is in `tree.status`. Valid until the next look. */
export interface Found {
  branch: number;
  isDirectory: boolean;
  /** Of a directory: all branches that it shows. */
  layers: number[];
}

/** What shows under a name; undefined if nothing does. */
export function findName(tree: UnionTree, parent: UnionNode, name: string): Found | undefined {
  return isReserved(name) ? undefined : find(tree, parent, name, 0, tree.status);
}

/** What would show if the writable branch had nothing there. Its status is in `tree.scratch`. */
export function findBelow(tree: UnionTree, parent: UnionNode, name: string): Found | undefined {
  const from = parent.layers[0] === 0 ? 1 : 0;
  return from >= parent.layers.length ? undefined : find(tree, parent, name, from, tree.scratch);
}

function find(
  tree: UnionTree,
  parent: UnionNode,
  name: string,
  from: number,
  status: StatusView,
): Found | undefined {
  const { layers } = parent;
  const last = layers.length - 1;
  let found: Found | undefined;
  for (let index = from; index <= last; index++) {
    const branch = layers[index] as number;
    const directory = tree.directory(parent, branch);
    const result = quickStatus(directory, name, found === undefined ? status.bytes : besides.bytes);
    if (result === 0) {
      const isDirectory = ((found === undefined ? status : besides).mode & S_IFMT) === S_IFDIR;
      if (found === undefined) {
        found = { branch, isDirectory, layers: [] };
        if (!isDirectory) return found;
      } else if (!isDirectory) {
        return found;
      }
      found.layers.push(branch);
      if (index < last && exists(directory, `${name}/${OPAQUE}`)) return found;
    } else if (result !== -ERRNO.ENOENT) {
      throw new Refused(-result);
    }
    if (index < last && result !== 0 && exists(directory, WHITEOUT + name)) return found;
  }
  return found;
}

const besides = new (class {
  readonly bytes: Buffer = Buffer.alloc(256);
  get mode(): number {
    return this.bytes.readUInt16LE(0x1c);
  }
})();

/** Is there such a mark? A name too long for one has none. */
export function exists(directory: number, name: string): boolean {
  return quickStatus(directory, name, besides.bytes) === 0;
}

/** The node behind a name, made if the kernel does not know it yet; its status is in `tree.status`. */
export function nodeAt(tree: UnionTree, parent: UnionNode, name: string): UnionNode | undefined {
  const known = parent.children?.get(name);
  if (known !== undefined) {
    tree.look(known);
    return known;
  }
  const found = findName(tree, parent, name);
  return found === undefined ? undefined : nodeOf(tree, parent, name, found);
}

/** The same, where there has to be one. */
export function nodeThere(tree: UnionTree, parent: UnionNode, name: string): UnionNode {
  const node = nodeAt(tree, parent, name);
  if (node === undefined) refuse("ENOENT");
  return node;
}

/** The node of what was found, its status in `tree.status`, and that of the copy where it is a name of a copied file. */
export function nodeOf(tree: UnionTree, parent: UnionNode, name: string, found: Found): UnionNode {
  const { status, nodes, numbers, links } = tree;
  if (found.isDirectory) {
    const directory = nodes.make(S_IFDIR, numbers.of(found.branch, status), found.branch, status.inode);
    directory.layers = found.layers;
    nodes.addPlace(directory, parent, name);
    return directory;
  }
  let { branch } = found;
  const several = status.links > 1;
  if (several && branch !== 0) {
    const link = links.find(numbers.key(branch, status.inode));
    if (link !== undefined && link.copy !== 0) {
      branch = 0;
      checked(quickStatus(links.directory, nameOf(link), status.bytes));
    }
  }
  const inode = status.inode;
  if (several) {
    const known = nodes.byInode(branch, inode);
    if (known !== undefined) {
      nodes.addPlace(known, parent, name);
      return known;
    }
  }
  const node = nodes.make(status.mode & S_IFMT, numbers.of(branch, status), branch, inode);
  node.size = status.size;
  if (several) {
    node.link = branch === 0 ? links.findCopy(inode) : links.find(numbers.key(branch, inode));
    nodes.index(node);
  }
  nodes.addPlace(node, parent, name);
  return node;
}
