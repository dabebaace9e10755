/**
 * The two forms a log file can have, seen alike: entries out of bytes, and where in a file to begin. What is no entry
 * (a machine that went down, a disk that was full) is passed over.
 */
import type { FileHandle } from "node:fs/promises";
import { parseJsonEntry } from "#logs/json-entry.ts";
import {
  decodeLocalMessage,
  FRAME,
  type LocalEntry,
  localEntrySize,
  MAX_MESSAGE,
} from "#logs/local-entry.ts";
import { type LogEntry, nanosecondsOf } from "#logs/log-entry.ts";
import type { LogFormName } from "#logs/log-types.ts";

export interface LogForm {
  /**
   * Hands every entry that is whole to `take`, with the offset of its end in `bytes`, until that answers false.
   * Answers how many bytes need not be seen again; all the rest is the beginning of an entry.
   */
  split(bytes: Buffer, take: (entry: LogEntry, end: number) => boolean): number;
  /** Where the last `count` entries of the first `size` bytes begin, and how many those are (fewer in a short file). */
  tail(file: FileHandle, size: number, count: number): Promise<{ offset: number; count: number }>;
  /** An offset at or before the first entry that is not older than `since`: saves reading, no more. */
  since(file: FileHandle, size: number, since: bigint): Promise<number>;
}

const BLOCK = 64 * 1024;
const NEWLINE = 0x0a;
/** Of every line of the json-file form, whoever wrote it. */
const BEGINNING = Buffer.from('{"log":');
/** No line written by a shim comes near this; a longer one is garbage and passed over. */
const MAX_LINE = 1024 * 1024;

const jsonFile: LogForm = {
  split(bytes, take) {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      const entry = parseJsonEntry(bytes.toString("utf8", start, end));
      start = end + 1;
      if (entry !== undefined && !take(entry, start)) return start;
    }
    return bytes.length - start > MAX_LINE ? bytes.length : start;
  },

  async tail(file, size, count) {
    if (count === 0) return { offset: size, count: 0 };
    const block = Buffer.alloc(BLOCK);
    /** What follows the block, as far as it may be looked at. */
    let ahead: Buffer = Buffer.alloc(0);
    let found = 0;
    // What stands behind the last newline is not whole.
    let whole = false;
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - BLOCK);
      const { bytesRead } = await file.read(block, 0, end - start, start);
      const bytes = block.subarray(0, bytesRead);
      for (let at = bytes.lastIndexOf(NEWLINE); at >= 0; ) {
        if (whole && beginsEntry(bytes, at + 1, ahead) && ++found === count) {
          return { offset: start + at + 1, count };
        }
        whole = true;
        at = at === 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1);
      }
      if (start === 0 && whole && beginsEntry(bytes, 0, ahead)) found++;
      ahead = Buffer.from(bytes.subarray(0, BEGINNING.length));
      end = start;
    }
    return { offset: 0, count: found };
  },

  /** By bisection: entries are in order of time. */
  async since(file, size, since) {
    let low = 0;
    let high = size;
    while (high - low > BLOCK) {
      const middle = low + Math.floor((high - low) / 2);
      const entry = await entryAfter(file, middle, high);
      if (entry !== undefined && entry.time < since) low = entry.offset;
      else high = middle;
    }
    return low;
  },
};

/** Does a line of `bytes` begin as an entry does? Lines that do not are passed over by whoever reads, and count for nothing. */
function beginsEntry(bytes: Buffer, at: number, ahead: Buffer): boolean {
  const end = at + BEGINNING.length;
  if (end <= bytes.length) return bytes.compare(BEGINNING, 0, BEGINNING.length, at, end) === 0;
  return Buffer.concat([bytes.subarray(at), ahead])
    .subarray(0, BEGINNING.length)
    .equals(BEGINNING);
}

/** The first line that begins after `from`, if one does before `limit`. */
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
      const entry = parseJsonEntry(block.toString("utf8", start, end));
      if (entry !== undefined) return { offset: from + start, time: nanosecondsOf(entry.time) };
      start = end + 1;
    }
    if (bytesRead === 0) break;
  }
  return undefined;
}

const NO_ATTRIBUTES: Readonly<Record<string, string>> = {};
/** The first byte of every message: the tag of its source. */
const FIRST_TAG = 0x0a;

/** Size of the entry at `at`, 0 if its end isn't there yet, -1 if there is none. */
function sizeAt(bytes: Buffer, at: number): number {
  if (at + FRAME < bytes.length && bytes[at + FRAME] !== FIRST_TAG) return -1;
  return localEntrySize(bytes, at);
}

/** LogForm.split for entries of the local form as they are. */
export function splitLocal(bytes: Buffer, take: (entry: LocalEntry, end: number) => boolean): number {
  for (let at = 0; ; ) {
    const size = sizeAt(bytes, at);
    if (size === 0) return at;
    if (size < 0) {
      at++;
      continue;
    }
    const entry = decodeLocalMessage(bytes, at + FRAME, at + size - FRAME);
    at += size;
    if (entry !== undefined && !take(entry, at)) return at;
  }
}

const local: LogForm = {
  split(bytes, take) {
    return splitLocal(bytes, ({ stream, time, line, partial }, end) => {
      const text = partial === undefined || partial.last ? withNewline(line) : line;
      return take({ stream, time, text, attributes: NO_ATTRIBUTES }, end);
    });
  },

  /** Backwards, by the lengths behind the messages; forwards where those make no sense. */
  async tail(file, size, count) {
    let start = size;
    let found = 0;
    let window = Buffer.alloc(0);
    let windowStart = size;
    for (; found < count && start > 0; found++) {
      if (start - windowStart < MAX_MESSAGE + 2 * FRAME && windowStart > 0) {
        windowStart = Math.max(0, start - 4 * MAX_MESSAGE);
        window = Buffer.alloc(start - windowStart);
        await file.read(window, 0, window.length, windowStart);
      }
      const end = start - windowStart;
      const length = end >= FRAME ? window.readUInt32BE(end - FRAME) : 0;
      const begin = end - length - 2 * FRAME;
      if (begin < 0 || sizeAt(window, begin) !== end - begin) return await forwardTail(file, size, count);
      start = windowStart + begin;
    }
    return { offset: start, count: found };
  },

  async since() {
    return 0;
  },
};

function withNewline(line: Uint8Array): Buffer {
  const text = Buffer.allocUnsafe(line.length + 1);
  text.set(line);
  text[line.length] = NEWLINE;
  return text;
}

async function forwardTail(
  file: FileHandle,
  size: number,
  count: number,
): Promise<{ offset: number; count: number }> {
  // Where entries end, which is where the next ones begin: one more than is wanted.
  const ends = [0];
  let rest = Buffer.alloc(0);
  for (let at = 0; at < size; ) {
    const block = Buffer.alloc(Math.min(4 * BLOCK, size - at));
    const { bytesRead } = await file.read(block, 0, block.length, at);
    if (bytesRead === 0) break;
    const bytes = Buffer.concat([rest, block.subarray(0, bytesRead)]);
    const base = at - rest.length;
    const used = local.split(bytes, (_, end) => {
      ends.push(base + end);
      if (ends.length > 2 * count + 2) ends.splice(0, ends.length - count - 1);
      return true;
    });
    rest = Buffer.from(bytes.subarray(used));
    at += bytesRead;
  }
  const kept = ends.slice(-(count + 1));
  return { offset: kept[0] ?? 0, count: kept.length - 1 };
}

export const LOG_FORMS: Record<LogFormName, LogForm> = { "json-file": jsonFile, local };
