/** Answers READDIR and READDIRPLUS: as many entries as fit, from a position on. */
import { SIZE } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { quickStatus } from "#kernel/fuse/quick-calls.ts";
import { type Entry, FIRST_POSITION, Listing } from "#storage/union/listing.ts";
import { nodeAt, nodeOf } from "#storage/union/lookup.ts";
import { Refused, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

const DT_DIR = 4;

/** Entries in the listings that are kept, of one mount, at most; the oldest are read again when they are asked for. */
const MOST_ENTRIES = 100_000;

export function readDirectory(
  tree: UnionTree,
  node: UnionNode,
  request: FuseRequest,
  reply: FuseReply,
  plus: boolean,
): number {
  if (!node.isDirectory) refuse("ENOTDIR");
  const position = request.u64(8);
  const limit = Math.min(request.u32(16), reply.buffer.length - SIZE.OUT_HEADER);
  let length = 0;
  for (let dots = position; dots < 2; dots++) {
    const ino = dots === 0 ? node.ino : (node.place?.parent.ino ?? node.ino);
    const at = plus ? length + SIZE.ENTRY_OUT : length;
    const end = reply.directoryEntry(at, limit, ino, dots + 1, DT_DIR, dots === 0 ? "." : "..");
    if (end < 0) return length;
    if (plus) reply.data(length, SIZE.ENTRY_OUT).fill(0);
    length = end;
  }
  if (node.hold >= 0) return length;
  const listing = listingOf(tree, node);
  let index = listing.after(Math.max(position, FIRST_POSITION - 1));
  for (let entry = listing.entry(index); entry !== undefined; entry = listing.entry(++index)) {
    const ino = tree.numbers.ofEntry(entry.branch, entry.inode);
    const at = plus ? length + SIZE.ENTRY_OUT : length;
    const end = reply.directoryEntry(at, limit, ino, entry.at, entry.type, entry.name);
    if (end < 0) break;
    if (plus) addNode(tree, node, entry, reply, length);
    length = end;
  }
  return length;
}

/** What LOOKUP would say of an entry, at `offset`. */
function addNode(tree: UnionTree, parent: UnionNode, entry: Entry, reply: FuseReply, offset: number): void {
  let node: UnionNode | undefined;
  try {
    node = lookAt(tree, parent, entry);
  } catch (error) {
    // The name is there; whoever wants more of it is told why there is none.
    if (!(error instanceof Refused)) throw error;
  }
  if (node === undefined) {
    reply.data(offset, SIZE.ENTRY_OUT).fill(0);
    return;
  }
  reply.entry(offset, node.id, tree.status, node.ino, tree.linksOf(node));
  reply.u64(offset + SIZE.ENTRY_OUT, node.ino);
  node.lookups++;
}

function lookAt(tree: UnionTree, parent: UnionNode, { name, type, branch }: Entry): UnionNode | undefined {
  // Of a directory all branches matter; of all else, and where there is no other branch, the entry says which.
  const only = parent.layers.length === 1;
  if ((type === DT_DIR || type === 0) && !only) return nodeAt(tree, parent, name);
  if (parent.children?.has(name) === true) return nodeAt(tree, parent, name);
  if (quickStatus(tree.directory(parent, branch), name, tree.status.bytes) < 0) return undefined;
  const isDirectory = (tree.status.mode & 0o170000) === 0o040000;
  return nodeOf(tree, parent, name, { branch, isDirectory, layers: isDirectory ? [branch] : [] });
}

interface Kept {
  order: Set<UnionNode>;
  entries: number;
}

const kept = new WeakMap<UnionTree, Kept>();

function listingOf(tree: UnionTree, node: UnionNode): Listing {
  if (node.listing !== undefined) return node.listing;
  const listing = Listing.read(node.layers, (branch) => tree.directory(node, branch));
  let all = kept.get(tree);
  if (all === undefined) {
    all = { order: new Set(), entries: 0 };
    kept.set(tree, all);
  }
  node.listing = listing;
  all.order.delete(node);
  all.order.add(node);
  all.entries += listing.length;
  if (all.entries > MOST_ENTRIES) dropOldest(all, node);
  return listing;
}

function dropOldest(all: Kept, youngest: UnionNode): void {
  all.entries = 0;
  for (const node of all.order) all.entries += node.listing?.length ?? 0;
  for (const node of all.order) {
    if (all.entries <= MOST_ENTRIES / 2) return;
    if (node === youngest) continue;
    all.order.delete(node);
    all.entries -= node.listing?.length ?? 0;
    node.listing = undefined;
  }
}
