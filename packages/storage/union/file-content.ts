/** Answers what is asked of the content of files that are open. */
import { ERRNO } from "#kernel/errno.ts";
import { FUSE_WRITE_KILL_SUIDGID, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import {
  quickAllocate,
  quickClose,
  quickCopyRange,
  quickOpen,
  quickPread,
  quickPwrite,
  quickSeek,
  quickSync,
} from "#kernel/fuse/quick-calls.ts";
import { O_DIRECTORY, O_RDONLY, SEEK_DATA } from "#kernel/syscalls.ts";
import { Postponed } from "#storage/union/errands.ts";
import { checked, refuse } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

/** Bytes that are copied for one request: the others wait meanwhile, and the caller comes back for the rest. */
const LONGEST_COPY = 64 * 1024 * 1024;

const SEEK_END = 2;

export function readFile(tree: UnionTree, node: UnionNode, offset: number, out: Buffer): number {
  // What is shorter than was asked for is the end of a regular file, here and to the kernel.
  return checked(quickPread(tree.files.descriptor(node), out, offset));
}

export function writeFile(tree: UnionTree, node: UnionNode, request: FuseRequest, reply: FuseReply): number {
  const fd = writable(tree, node);
  const data = request.data(SIZE.WRITE_IN, request.u32(16));
  if ((request.u32(20) & FUSE_WRITE_KILL_SUIDGID) !== 0) tree.files.killRights(node);
  reply.u64(0, checked(quickPwrite(fd, data, request.u64(8))));
  return 8;
}

function writable(tree: UnionTree, node: UnionNode): number {
  const fd = tree.files.descriptor(node);
  if (node.open?.writable !== true) refuse("EBADF");
  return fd;
}

export function syncFile(tree: UnionTree, node: UnionNode, dataOnly: boolean): number {
  // What is below was written when its layer was made.
  if (node.open === undefined || node.open.branch !== 0) return 0;
  const fd = tree.files.descriptor(node);
  if (tree.errands === undefined) return checked(quickSync(fd, dataOnly));
  throw new Postponed(tree.errands.begin({ kind: "sync", fd, dataOnly }, []), false);
}

export function syncDirectory(tree: UnionTree, node: UnionNode): number {
  if (node.layers[0] !== 0 || !tree.writable) return 0;
  const fd = checked(quickOpen(tree.directory(node, 0), ".", O_RDONLY | O_DIRECTORY));
  if (tree.errands !== undefined) {
    throw new Postponed(tree.errands.begin({ kind: "sync", fd, dataOnly: false }, [fd]), false);
  }
  const result = quickSync(fd, false);
  quickClose(fd);
  return checked(result);
}

export function allocate(tree: UnionTree, node: UnionNode, request: FuseRequest): number {
  checked(quickAllocate(writable(tree, node), request.u32(24), request.u64(8), request.u64(16)));
  changedBy(tree, node, request.uid);
  return 0;
}

/** Of writing the kernel tells who loses rights by it; of these changes it does not. */
function changedBy(tree: UnionTree, node: UnionNode, caller: number): void {
  if (caller !== 0) tree.files.killRights(node);
}

export function seekFile(tree: UnionTree, node: UnionNode, request: FuseRequest, reply: FuseReply): number {
  const fd = tree.files.descriptor(node);
  const [offset, whence] = [request.u64(8), request.u32(16)];
  if (node.open?.written === true && !node.open.through) {
    // What was written to mapped pages may be the kernel's still: whatever looks like a hole here may be none.
    const size = checked(quickSeek(fd, 0, SEEK_END));
    if (offset >= size) refuse("ENXIO");
    reply.u64(0, whence === SEEK_DATA ? offset : size);
  } else {
    reply.u64(0, checked(quickSeek(fd, offset, whence)));
  }
  return 8;
}

export function copyRange(
  tree: UnionTree,
  from: UnionNode,
  to: UnionNode,
  request: FuseRequest,
  reply: FuseReply,
): number {
  const length = Math.min(request.u64(40), LONGEST_COPY);
  const source = tree.files.descriptor(from);
  const copied = quickCopyRange(source, request.u64(8), writable(tree, to), request.u64(32), length);
  // Between two file systems: the kernel does it by reading and writing.
  if (copied === -ERRNO.EXDEV) return -ERRNO.EOPNOTSUPP;
  // 32 bits and zeroes, or 64 bits: the same.
  reply.u64(0, checked(copied));
  changedBy(tree, to, request.uid);
  return 8;
}
