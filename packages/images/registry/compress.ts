/**
 * Compression of layers on their way out: gzip, by ISA-L where it is installed and by zlib where not.
 *
 * Gzip and nothing newer, because every client of every registry reads it. The same content gives the same bytes on the same
 * machine, so that a layer pushed twice has one digest. See docs/decisions for how the two were chosen.
 */
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { type Deflater, isalDeflater } from "#kernel/isal.ts";

/** zlib's fastest level that makes layers smaller than ISA-L does. */
const zlibLevel = 3;
const pieceSize = 256 << 10;

/** Yields one gzip member with what `source` yields. Throws what `source` throws. */
export function gzipped(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const deflater = isalDeflater();
  return deflater === undefined ? byZlib(source) : byIsal(deflater, source);
}

async function* byIsal(
  deflater: Deflater,
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  for await (const piece of source) yield* deflater.push(piece);
  yield* deflater.finish();
}

/** zlib works in Node's own threads, one call at a time for each stream. */
export async function* byZlib(
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const gzip = createGzip({ level: zlibLevel, chunkSize: pieceSize, memLevel: 9 });
  // Ends the source too, whichever side gives up; what it throws comes out of the loop below.
  pipeline(Readable.from(copies(source), { objectMode: false }), gzip, () => {});
  yield* gzip as AsyncIterable<Buffer>;
}

/** A source may use its buffer again at once; zlib reads it later. */
async function* copies(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): AsyncIterable<Buffer> {
  for await (const piece of source) yield Buffer.from(piece);
}
