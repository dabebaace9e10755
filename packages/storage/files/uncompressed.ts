/**
 * A stream of bytes, uncompressed if its first bytes say that it is compressed. Everything is decompressed in this
 * process: a program that a container could have put in its own root is never run.
 */
import { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { BerthError } from "#errors/errors.ts";
import { detectCompression } from "#storage/unpack/layer-source.ts";

/** Bytes that tell the kind. */
const magicLength = 8;
const chunkSize = 256 * 1024;

/** Throws "invalid" for broken or unsupported compression. */
export async function* uncompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const pieces = source[Symbol.asyncIterator]();
  const start = await readStart(pieces);
  const compression = detectCompression(start);
  const whole = rejoined(start, pieces);
  if (compression === "none") {
    yield* whole;
    return;
  }
  if (compression !== "gzip" && compression !== "zstd") {
    throw new BerthError("invalid", `the archive is compressed with ${compression}, which is not supported`, {
      operation: "read archive",
      hint: "Compress it with gzip or zstd, or not at all.",
    });
  }
  const decompressor =
    compression === "gzip" ? createGunzip({ chunkSize }) : createZstdDecompress({ chunkSize });
  const input = Readable.from(whole);
  input.on("error", (error) => decompressor.destroy(error));
  try {
    yield* input.pipe(decompressor) as AsyncIterable<Buffer>;
  } catch (cause) {
    if (!isDecompression(cause)) throw cause;
    throw new BerthError("invalid", `the archive is damaged: ${compression}: ${(cause as Error).message}`, {
      operation: "read archive",
      cause,
    });
  } finally {
    decompressor.destroy();
    input.destroy();
  }
}

async function readStart(pieces: AsyncIterator<Buffer>): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  while (start.length < magicLength) {
    const { done, value } = await pieces.next();
    if (done === true) break;
    start = start.length === 0 ? value : Buffer.concat([start, value]);
  }
  return start;
}

async function* rejoined(start: Buffer, pieces: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start;
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
}

/** zlib's errors have codes of their own. */
function isDecompression(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && /^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(String(error.code))
  );
}
