/** Answers SETATTR: size, owner, mode, times. What is below is copied up first. */
import { FATTR } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import {
  quickChmod,
  quickChown,
  quickClose,
  quickOpen,
  quickTimes,
  quickTruncate,
} from "#kernel/fuse/quick-calls.ts";
import { O_NOFOLLOW, O_WRONLY } from "#kernel/syscalls.ts";
import { copyUp } from "#storage/union/copy-up.ts";
import { checked } from "#storage/union/refused.ts";
import type { UnionNode } from "#storage/union/union-node.ts";
import type { UnionTree } from "#storage/union/union-tree.ts";

const LEFT_AS_IT_IS = 0xffff_ffff;
const SETTING = FATTR.MODE | FATTR.UID | FATTR.GID | FATTR.SIZE | FATTR.ATIME | FATTR.MTIME;
/** sys/stat.h: nanoseconds that stand for "now" and for "not this one". */
const UTIME_NOW = 0x3fff_ffffn;
const UTIME_OMIT = 0x3fff_fffen;

const times = new BigInt64Array(4);
const timesBytes = new Uint8Array(times.buffer);

/** Changes what the request says; the status afterwards is in `tree.status`. */
export function setStatus(tree: UnionTree, node: UnionNode, request: FuseRequest): void {
  const valid = request.u32(0);
  if ((valid & FATTR.SIZE) !== 0) truncate(tree, node, request.u64(16), (valid & FATTR.KILL_SUIDGID) !== 0);
  else copyUp(tree, node);
  tree.reach(node);
  const { atDirectory, atName } = tree;
  // Nothing to set: an owner was set to what it is, which takes set-id bits away all the same.
  if ((valid & (FATTR.UID | FATTR.GID)) !== 0 || (valid & SETTING) === 0) {
    const uid = (valid & FATTR.UID) !== 0 ? request.u32(76) : LEFT_AS_IT_IS;
    const gid = (valid & FATTR.GID) !== 0 ? request.u32(80) : LEFT_AS_IT_IS;
    checked(quickChown(atDirectory, atName, uid, gid));
  }
  if ((valid & FATTR.MODE) !== 0) checked(quickChmod(atDirectory, atName, request.u32(68) & 0o7777));
  if ((valid & (FATTR.ATIME | FATTR.MTIME)) !== 0) {
    put(0, valid & FATTR.ATIME, valid & FATTR.ATIME_NOW, request.i64(32), request.u32(56));
    put(2, valid & FATTR.MTIME, valid & FATTR.MTIME_NOW, request.i64(40), request.u32(60));
    checked(quickTimes(atDirectory, atName, timesBytes));
  }
  tree.look(node);
}

function put(at: number, given: number, now: number, seconds: number, nanoseconds: number): void {
  times[at] = BigInt(seconds);
  times[at + 1] = given === 0 ? UTIME_OMIT : now !== 0 ? UTIME_NOW : BigInt(nanoseconds);
}

function truncate(tree: UnionTree, node: UnionNode, size: number, killsRights: boolean): void {
  tree.files.prepareWrite(node, size === 0);
  const { open } = node;
  if (open?.writable === true && open.branch === node.branch) {
    checked(quickTruncate(open.fd, size));
  } else {
    tree.reach(node);
    const { atDirectory, atName } = tree;
    const fd = checked(
      atName === ""
        ? quickOpen(-100, `/proc/self/fd/${atDirectory}`, O_WRONLY)
        : quickOpen(atDirectory, atName, O_WRONLY | O_NOFOLLOW),
    );
    const result = quickTruncate(fd, size);
    quickClose(fd);
    checked(result);
  }
  if (killsRights) tree.files.killRights(node);
}
