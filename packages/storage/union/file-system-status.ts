/** Answers STATFS with what the file system of the uppermost branch says of itself. */
import { SIZE } from "#kernel/fuse/fuse-protocol.ts";
import type { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import { quickFileSystemStatus } from "#kernel/fuse/quick-calls.ts";
import { checked } from "#storage/union/refused.ts";

const bytes = Buffer.alloc(120);

export function fileSystemStatus(fd: number, reply: FuseReply): number {
  checked(quickFileSystemStatus(fd, bytes));
  const word = (index: number) =>
    bytes.readUInt32LE(index * 8) + bytes.readUInt32LE(index * 8 + 4) * 0x1_0000_0000;
  reply.data(0, SIZE.STATFS_OUT).fill(0);
  // Blocks, free, available, files, free files stand in a row in `struct statfs`, behind type and block size.
  for (let index = 0; index < 5; index++) reply.u64(index * 8, word(index + 2));
  reply.u32(40, word(1));
  reply.u32(44, word(8));
  reply.u32(48, word(9));
  return SIZE.STATFS_OUT;
}
