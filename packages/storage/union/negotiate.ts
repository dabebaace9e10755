/** The first request of a mount: what the kernel can and what we want of it. */
import { FUSE_MAJOR, FUSE_MINOR, FUSE_OLDEST_MINOR, INIT, INIT2, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import type { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { refuse } from "#storage/union/refused.ts";

/** Bytes of one read or write; the kernel takes 256 pages at most unless it was told otherwise. */
export const MOST_BYTES = 1 << 20;
/** Requests in flight that nobody waits for: reading ahead, forgetting. */
const BACKGROUND = 64;

const wanted =
  INIT.ASYNC_READ |
  INIT.ATOMIC_O_TRUNC |
  INIT.BIG_WRITES |
  INIT.DONT_MASK |
  INIT.DO_READDIRPLUS |
  INIT.READDIRPLUS_AUTO |
  INIT.ASYNC_DIO |
  INIT.PARALLEL_DIROPS |
  INIT.POSIX_ACL |
  INIT.MAX_PAGES |
  INIT.CACHE_SYMLINKS |
  INIT.NO_OPENDIR_SUPPORT |
  INIT.EXPLICIT_INVAL_DATA |
  INIT.HANDLE_KILLPRIV_V2 |
  INIT.SETXATTR_EXT |
  INIT.INIT_EXT;

export function negotiate(request: FuseRequest, reply: FuseReply): number {
  const [major, minor] = [request.u32(0), request.u32(4)];
  if (major !== FUSE_MAJOR || minor < FUSE_OLDEST_MINOR) refuse("EPROTO");
  const flags = request.u32(12);
  const flags2 = (flags & INIT.INIT_EXT) !== 0 ? request.u32(16) : 0;
  reply.data(0, SIZE.INIT_OUT).fill(0);
  reply.u32(0, FUSE_MAJOR);
  reply.u32(4, Math.min(minor, FUSE_MINOR));
  reply.u32(8, request.u32(8));
  reply.u32(12, (flags & wanted) >>> 0);
  reply.u16(16, BACKGROUND);
  reply.u16(18, (BACKGROUND * 3) / 4);
  reply.u32(20, MOST_BYTES);
  reply.u32(24, 1);
  reply.u16(28, MOST_BYTES / 4096);
  reply.u32(32, flags2 & (INIT2.PASSTHROUGH | INIT2.HAS_RESEND));
  // Branches are on file systems that stand on no other.
  reply.u32(36, 1);
  return SIZE.INIT_OUT;
}
