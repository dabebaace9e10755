/** Answers what is asked of extended attributes, access lists among them: they are those of the branches' files. */

import { FUSE_SETXATTR_ACL_KILL_SGID } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import {
  quickChmod,
  quickGetAttribute,
  quickListAttributes,
  quickRemoveAttribute,
  quickSetAttribute,
} from "#kernel/fuse/quick-calls.ts";
import { copyUp } from "#storage/union/copy-up.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

const none = Buffer.alloc(0);
/** Bytes of the largest value, and of the longest list of names, linux/limits.h. */
const LARGEST = 65_536;

export function readAttribute(
  tree: UnionTree,
  node: UnionNode,
  request: FuseRequest,
  reply: FuseReply,
): number {
  tree.reach(node);
  return answer(request.u32(0), reply, (out) =>
    quickGetAttribute(tree.atDirectory, tree.atName, request.name(8), out),
  );
}

export function listAttributes(tree: UnionTree, node: UnionNode, size: number, reply: FuseReply): number {
  tree.reach(node);
  return answer(size, reply, (out) => quickListAttributes(tree.atDirectory, tree.atName, out));
}

/** The bytes, or for `size` 0 how many there are. */
function answer(size: number, reply: FuseReply, read: (out: Buffer) => number): number {
  if (size > 0) return checked(read(reply.data(0, Math.min(size, LARGEST))));
  const length = checked(read(none));
  reply.u64(0, length);
  return 8;
}

export function setAttribute(tree: UnionTree, node: UnionNode, request: FuseRequest): number {
  const [size, flags] = [request.u32(0), request.u32(4)];
  const key = request.name(16);
  const value = request.data(request.after(16), size);
  if (value.length !== size) refuse("EINVAL");
  copyUp(tree, node);
  tree.reach(node);
  const { atDirectory, atName } = tree;
  checked(quickSetAttribute(atDirectory, atName, key, value, flags));
  if ((request.u32(8) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0) {
    tree.look(node);
    checked(quickChmod(atDirectory, atName, tree.status.mode & 0o5777));
  }
  return 0;
}

export function removeAttribute(tree: UnionTree, node: UnionNode, key: string): number {
  if (node.branch !== 0) {
    // What is not there needs no copy.
    tree.reach(node);
    checked(quickGetAttribute(tree.atDirectory, tree.atName, key, none));
  }
  copyUp(tree, node);
  tree.reach(node);
  return checked(quickRemoveAttribute(tree.atDirectory, tree.atName, key));
}
