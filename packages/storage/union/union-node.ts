/**
 * The nodes of a union: what the kernel knows of it, each under a number of its own, and where it is found in the branches.
 *
 * A node is there as long as the kernel remembers its number, or a node inside of it. A directory has one place; a file as
 * many as its names that were looked up. The numbers are never used again while the mount lasts.
 */
import { S_IFDIR } from "#kernel/file-syscalls.ts";
import type { Copying } from "#storage/union/errands.ts";
import type { HardLink } from "#storage/union/hard-links.ts";
import type { Listing } from "#storage/union/listing.ts";
import type { OpenFile } from "#storage/union/open-files.ts";

export interface Place {
  parent: UnionNode;
  name: string;
}

const nothing: number[] = [];

export class UnionNode {
  readonly id: number;
  /** Type bits of the mode. */
  readonly kind: number;
  /** The number that is shown (inode-numbers.ts): the same from first to last. */
  readonly ino: number;
  /** How often the kernel was told of it and has not forgotten it. */
  lookups = 0;
  /** Uppermost branch that has it, and the inode there. */
  branch: number;
  inode: number;
  /** Of a directory: the branches that it shows, uppermost first. */
  layers: number[] = nothing;
  /** Of a directory: nodes inside, by name. */
  children: Map<string, UnionNode> | undefined;
  listing: Listing | undefined;
  /** Where it is; undefined for the root and for what was removed. */
  place: Place | undefined;
  /** Further names of a file. */
  more: Place[] | undefined;
  link: HardLink | undefined;
  open: OpenFile | undefined;
  /** Its copy in the writable branch, while that takes long. */
  copying: Copying | undefined;
  /** The descriptor (O_PATH) of what has no name any more; -1 for what has one. */
  hold = -1;
  /** Bytes of a file below, which never change. */
  size = 0;
  /** They were put into the kernel's memory. */
  stored = false;
  /** Its pages in the kernel's memory may be older than the file. */
  stale = false;

  constructor(id: number, kind: number, ino: number, branch: number, inode: number) {
    this.id = id;
    this.kind = kind;
    this.ino = ino;
    this.branch = branch;
    this.inode = inode;
    if (kind === S_IFDIR) this.children = new Map();
  }

  get isDirectory(): boolean {
    return this.children !== undefined;
  }
}

export class NodeTable {
  readonly #nodes = new Map<number, UnionNode>();
  /** Files that have, or may have, several names: by branch and inode. */
  readonly #byInode: Map<number, UnionNode>[] = [];
  readonly #dropped: (node: UnionNode) => void;
  #next: number;

  /** `dropped` gives back what a node held, when it goes. */
  constructor(first: number, dropped: (node: UnionNode) => void) {
    this.#next = first;
    this.#dropped = dropped;
  }

  get size(): number {
    return this.#nodes.size;
  }

  all(): IterableIterator<UnionNode> {
    return this.#nodes.values();
  }

  get(id: number): UnionNode | undefined {
    return this.#nodes.get(id);
  }

  make(kind: number, ino: number, branch: number, inode: number): UnionNode {
    const node = new UnionNode(this.#next++, kind, ino, branch, inode);
    this.#nodes.set(node.id, node);
    return node;
  }

  byInode(branch: number, inode: number): UnionNode | undefined {
    return this.#byInode[branch]?.get(inode);
  }

  /** From now on found by its inode. */
  index(node: UnionNode): void {
    let nodes = this.#byInode[node.branch];
    if (nodes === undefined) {
      nodes = new Map();
      this.#byInode[node.branch] = nodes;
    }
    nodes.set(node.inode, node);
  }

  unindex(node: UnionNode): void {
    const nodes = this.#byInode[node.branch];
    if (nodes?.get(node.inode) === node) nodes.delete(node.inode);
  }

  /** The node is found under this name. */
  addPlace(node: UnionNode, parent: UnionNode, name: string): void {
    parent.children?.set(name, node);
    const place = { parent, name };
    if (node.place === undefined) node.place = place;
    else if (node.more === undefined) node.more = [place];
    else node.more.push(place);
  }

  /** And now it is not. */
  dropPlace(node: UnionNode, parent: UnionNode, name: string): void {
    if (parent.children?.get(name) === node) parent.children.delete(name);
    const is = (place: Place | undefined) => place?.parent === parent && place.name === name;
    if (is(node.place)) {
      node.place = node.more?.shift();
    } else if (node.more !== undefined) {
      const at = node.more.findIndex(is);
      if (at >= 0) node.more.splice(at, 1);
    }
    if (node.more?.length === 0) node.more = undefined;
  }

  forget(id: number, count: number): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.settle(node);
  }

  /** Lets a node go that nobody knows any more, and those it was in, which nobody may know but for it. */
  settle(node: UnionNode): void {
    let unknown: UnionNode | undefined = node;
    while (unknown !== undefined && unknown.lookups === 0 && unknown.id !== 1) {
      if ((unknown.children?.size ?? 0) > 0) return;
      const places: Place[] = unknown.place === undefined ? [] : [unknown.place, ...(unknown.more ?? [])];
      for (const { parent, name } of places) parent.children?.delete(name);
      this.unindex(unknown);
      this.#nodes.delete(unknown.id);
      this.#dropped(unknown);
      for (const { parent } of places.slice(1)) this.settle(parent);
      unknown = places[0]?.parent;
    }
  }
}
