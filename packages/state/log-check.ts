/**
 * Whether the write-ahead log beside a database is one. SQLite passes over a log whose beginning it cannot read, and the
 * database is then silently as it was at its last checkpoint. (A log that breaks off later is what a power cut leaves; what
 * had to survive that stands before the break.)
 */
import { statSync } from "node:fs";
import { readBytes } from "./read-bytes.ts";

/** Of the log and of each frame in it: www.sqlite.org/fileformat.html, 4.1. */
const LOG_HEADER = 32;
const FRAME_HEADER = 24;
/** With its last bit the order of bytes that checksums are taken in. */
const MAGIC = 0x377f0682;

/** Undefined for a log that is sound, empty or not there. */
export function damageOfLog(path: string): string | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LOG_HEADER + FRAME_HEADER) return undefined;
  const header = readBytes(path, 0, LOG_HEADER);
  // A disk that lost power may have the file's size without what was in it.
  if (header.every((byte) => byte === 0)) return undefined;
  const magic = header.readUInt32BE(0);
  if ((magic & ~1) >>> 0 !== MAGIC) return "the header of its log is damaged";
  const [first, second] = checksum(header.subarray(0, 24), (magic & 1) === 1);
  if (first === header.readUInt32BE(24) && second === header.readUInt32BE(28)) return undefined;
  return "the header of its log is damaged";
}

/** SQLite's, 4.2 there: two sums that feed each other. */
function checksum(bytes: Buffer, bigEndian: boolean): [number, number] {
  let [first, second] = [0, 0];
  for (let at = 0; at < bytes.length; at += 8) {
    const word = (offset: number) => (bigEndian ? bytes.readUInt32BE(offset) : bytes.readUInt32LE(offset));
    first = (first + word(at) + second) >>> 0;
    second = (second + word(at + 4) + first) >>> 0;
  }
  return [first, second];
}
