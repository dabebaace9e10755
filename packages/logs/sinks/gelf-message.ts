/** GELF 1.1: messages, and the chunks that long ones are sent in. Pure but for the id of a chunked message. */
import { randomBytes } from "node:crypto";
import { deflateSync, gzipSync } from "node:zlib";
import type { GelfOptions } from "#logs/options/gelf-options.ts";
import type { Event } from "#logs/sinks/sink.ts";

/** Syslog's severities, which GELF has as levels. */
const LEVEL = { stdout: 6, stderr: 3 } as const;
const MAGIC = Buffer.of(0x1e, 0x0f);
/** Magic, id, number of this chunk, number of chunks. */
const CHUNK_HEAD = 12;
/** What passes every network without being cut up. */
const CHUNK = 1420;
const MOST_CHUNKS = 128;

export function gelfMessage(event: Event, fields: Readonly<Record<string, string>>): Buffer {
  const text = Buffer.from(event.line.buffer, event.line.byteOffset, event.line.byteLength).toString();
  const { partial } = event;
  const message: Record<string, unknown> = {
    ...fields,
    short_message: text,
    timestamp: Number(event.time / 1_000_000n) / 1000,
    level: LEVEL[event.stream],
    ...(partial === undefined
      ? {}
      : {
          _partial_message: "true",
          _partial_id: partial.id,
          _partial_ordinal: String(partial.ordinal),
          _partial_last: String(partial.last),
        }),
  };
  return Buffer.from(JSON.stringify(message));
}

export function compressGelf(message: Buffer, { compression, level }: GelfOptions): Buffer {
  if (compression === "none") return message;
  return compression === "gzip" ? gzipSync(message, { level }) : deflateSync(message, { level });
}

/** One datagram, or as many as it takes; none for what is too long to be sent at all. */
export function gelfDatagrams(message: Buffer): Buffer[] {
  if (message.length <= CHUNK) return [message];
  const room = CHUNK - CHUNK_HEAD;
  const count = Math.ceil(message.length / room);
  if (count > MOST_CHUNKS) return [];
  const id = randomBytes(8);
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([MAGIC, id, Buffer.of(index, count), message.subarray(index * room, (index + 1) * room)]),
  );
}
