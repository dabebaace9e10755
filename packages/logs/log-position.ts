/** Where in a log file to begin reading: the last n entries, or the first at or after a time. Reads blocks, not the file. */
import type { FileHandle } from "node:fs/promises";
import { parseEntry, timeOf } from "#logs/log-entry.ts";

const BLOCK = 64 * 1024;
const NEWLINE = 0x0a;

/** Offset of the last `count` complete lines of the first `size` bytes. */
export async function tailOffset(file: FileHandle, size: number, count: number): Promise<number> {
  if (count === 0) return size;
  const block = Buffer.alloc(BLOCK);
  let found = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at--) {
      // The newline at the very end closes the last line, it does not begin one.
      if (block[at] !== NEWLINE || start + at === size - 1) continue;
      if (++found === count) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

/**
 * An offset at or before the first entry that is not older than `since`, by bisection: entries are in order of time.
 * Exact enough to save reading a large file; the reader still compares each entry.
 */
export async function sinceOffset(file: FileHandle, size: number, since: bigint): Promise<number> {
  let low = 0;
  let high = size;
  while (high - low > BLOCK) {
    const middle = low + Math.floor((high - low) / 2);
    const entry = await entryAfter(file, middle, high);
    if (entry !== undefined && entry.time < since) low = entry.offset;
    else high = middle;
  }
  return low;
}

/** The first entry that begins after `from`, if one does before `limit`. */
async function entryAfter(
  file: FileHandle,
  from: number,
  limit: number,
): Promise<{ offset: number; time: bigint } | undefined> {
  let block = Buffer.alloc(0);
  for (let at = from; at < limit; at += BLOCK) {
    const next = Buffer.alloc(Math.min(BLOCK, limit - at));
    const { bytesRead } = await file.read(next, 0, next.length, at);
    block = Buffer.concat([block, next.subarray(0, bytesRead)]);
    for (let start = block.indexOf(NEWLINE) + 1; start > 0; ) {
      const end = block.indexOf(NEWLINE, start);
      if (end < 0) break;
      const entry = parseEntry(block.toString("utf8", start, end));
      const time = entry === undefined ? undefined : timeOf(entry.time);
      if (time !== undefined) return { offset: from + start, time };
      start = end + 1;
    }
    if (bytesRead === 0) break;
  }
  return undefined;
}
