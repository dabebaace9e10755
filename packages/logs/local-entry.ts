/**
 * One entry of the `local` form: the length of a protobuf message in four bytes, most significant first, the message,
 * the length again. The message has source (1), time in nanoseconds (2), line (3), partial (4), and of a partial one
 * a message (5) of last (1), id (2), ordinal (3). Pure.
 *
 * launcher/log_local.c writes the same.
 */
import type { LogStream, PartialLine } from "#logs/log-entry.ts";

/** Of the length before and behind a message. */
export const FRAME = 4;
/** No message written by a shim comes near this: a length above it is none. */
export const MAX_MESSAGE = 1 << 17;

export interface LocalEntry {
  stream: LogStream;
  /** Nanoseconds since the epoch. */
  time: bigint;
  /** Without newline; part of the bytes it was read from. */
  line: Uint8Array;
  partial: PartialLine | undefined;
}

/** Bytes of the entry that begins at `at`, frame included; 0 if its end is not there, -1 if none begins there. */
export function localEntrySize(bytes: Buffer, at: number): number {
  if (bytes.length - at < FRAME) return 0;
  const length = bytes.readUInt32BE(at);
  if (length === 0 || length > MAX_MESSAGE) return -1;
  const size = length + 2 * FRAME;
  if (bytes.length - at < size) return 0;
  return bytes.readUInt32BE(at + FRAME + length) === length ? size : -1;
}

/** The entry whose message is at `start` to `end`; undefined if it is no such message. Unknown fields are passed over. */
export function decodeLocalMessage(bytes: Buffer, start: number, end: number): LocalEntry | undefined {
  const entry: LocalEntry = { stream: "stdout", time: 0n, line: EMPTY, partial: undefined };
  let isPartial = false;
  let metadata: PartialLine = { id: "", ordinal: 0, last: false };
  const known = eachField(bytes, start, end, (number, value) => {
    if (number === 1 && typeof value !== "number")
      entry.stream = latin1(bytes, value) === "stderr" ? "stderr" : "stdout";
    else if (number === 2 && typeof value === "number") entry.time = varintAt(bytes, value);
    else if (number === 3 && typeof value !== "number") entry.line = bytes.subarray(value.start, value.end);
    else if (number === 4 && typeof value === "number") isPartial = bytes[value] !== 0;
    else if (number === 5 && typeof value !== "number")
      metadata = decodeMetadata(bytes, value.start, value.end);
  });
  if (!known) return undefined;
  if (isPartial) entry.partial = metadata;
  return entry;
}

function decodeMetadata(bytes: Buffer, start: number, end: number): PartialLine {
  const metadata: PartialLine = { id: "", ordinal: 0, last: false };
  eachField(bytes, start, end, (number, value) => {
    if (number === 1 && typeof value === "number") metadata.last = bytes[value] !== 0;
    else if (number === 2 && typeof value !== "number") metadata.id = latin1(bytes, value);
    else if (number === 3 && typeof value === "number") metadata.ordinal = Number(varintAt(bytes, value));
  });
  return metadata;
}

interface Span {
  start: number;
  end: number;
}

const EMPTY = new Uint8Array(0);

function latin1(bytes: Buffer, { start, end }: Span): string {
  return bytes.toString("latin1", start, end);
}

/** Calls `take` for every field: with where its varint is, or where its bytes are. Answers whether all was well-formed. */
function eachField(
  bytes: Buffer,
  start: number,
  end: number,
  take: (number: number, value: number | Span) => void,
): boolean {
  let at = start;
  while (at < end) {
    const tag = shortVarint(bytes, at, end);
    if (tag === undefined) return false;
    at = tag.next;
    const number = tag.value >>> 3;
    switch (tag.value & 7) {
      case 0: {
        const begin = at;
        while (at < end && (bytes[at] as number) >= 0x80) at++;
        if (at >= end || at - begin > 9) return false;
        at++;
        take(number, begin);
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const length = shortVarint(bytes, at, end);
        if (length === undefined || length.next + length.value > end) return false;
        at = length.next + length.value;
        take(number, { start: length.next, end: at });
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return false;
    }
  }
  return at === end;
}

/** A varint below 2^28. */
function shortVarint(bytes: Buffer, at: number, end: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let shift = 0; shift < 28 && at < end; shift += 7) {
    const byte = bytes[at++] as number;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, next: at };
  }
  return undefined;
}

/** The value of a varint whose end is known to be there. */
function varintAt(bytes: Buffer, at: number): bigint {
  let low = 0;
  let high = 0;
  let scale = 1;
  for (let index = 0; ; index++) {
    const byte = bytes[at + index] as number;
    if (index === 7) scale = 1;
    if (index < 7) low += (byte & 0x7f) * scale;
    else high += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) break;
  }
  return high === 0 ? BigInt(low) : BigInt.asIntN(64, (BigInt(high) << 49n) + BigInt(low));
}

/** An entry's bytes. */
export function encodeLocalEntry(entry: LocalEntry): Buffer {
  const fields = [bytesField(1, Buffer.from(entry.stream)), Buffer.of(0x10), varint(entry.time)];
  if (entry.line.length > 0) fields.push(bytesField(3, entry.line));
  const { partial } = entry;
  if (partial !== undefined) {
    const inner = [
      ...(partial.last ? [Buffer.of(0x08, 1)] : []),
      bytesField(2, Buffer.from(partial.id)),
      ...(partial.ordinal === 0 ? [] : [Buffer.of(0x18), varint(BigInt(partial.ordinal))]),
    ];
    fields.push(Buffer.of(0x20, 1), bytesField(5, Buffer.concat(inner)));
  }
  const message = Buffer.concat(fields);
  const frame = Buffer.alloc(FRAME);
  frame.writeUInt32BE(message.length);
  return Buffer.concat([frame, message, frame]);
}

function bytesField(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of((number << 3) | 2), varint(BigInt(bytes.length)), bytes]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
