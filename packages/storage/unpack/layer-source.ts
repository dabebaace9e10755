/**
 * A layer file as a stream of uncompressed bytes: the kind is told by its first bytes, not by its name or media type.
 *
 * Decompression runs in libuv's threads, one chunk ahead of whoever reads, so that inflating and writing files overlap.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { BerthError } from "#errors/errors.ts";
import { isalInflater } from "#kernel/isal-inflate.ts";
import { gunzipFile } from "#storage/unpack/gunzip-file.ts";

export type Compression = "none" | "gzip" | "zstd" | "bzip2" | "xz";

const magics: [Compression, number[]][] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** The compression told by the first bytes (six are enough); "none" for anything unknown. */
export function detectCompression(start: Uint8Array): Compression {
  for (const [compression, magic] of magics) {
    if (magic.every((byte, index) => start[index] === byte)) return compression;
  }
  // A skippable zstd frame may come first.
  if (
    start.length >= 4 &&
    ((start[0] as number) & 0xf0) === 0x50 &&
    start[1] === 0x2a &&
    start[2] === 0x4d &&
    start[3] === 0x18
  ) {
    return "zstd";
  }
  return "none";
}

/** Bytes read and given out at once; large enough that the hand-over between threads costs nothing. */
const chunkSize = 512 * 1024;

/**
 * Yields the uncompressed content of the file `path`. `consumed` is called with the number of compressed bytes read so far.
 * Throws "invalid" for broken or unsupported compression.
 */
export async function* readLayer(path: string, consumed: (bytes: number) => void): AsyncGenerator<Buffer> {
  const compression = await readCompression(path);
  try {
    yield* readAs(compression, path, consumed);
  } catch (cause) {
    if (!isCompressionError(cause)) throw cause;
    throw new BerthError("invalid", `layer is damaged: ${compression}: ${(cause as Error).message}`, {
      operation: "unpack layer",
      object: path,
      hint: "The file is truncated or was changed; fetch it again.",
      cause,
    });
  }
}

async function* readAs(
  compression: Compression,
  path: string,
  consumed: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  if (compression === "bzip2" || compression === "xz") {
    throw new BerthError("invalid", `layer is compressed with ${compression}, which is not supported`, {
      operation: "unpack layer",
      object: path,
      hint: "Compress it with gzip or zstd, or not at all.",
    });
  }
  const inflater = compression === "gzip" ? isalInflater() : undefined;
  if (inflater !== undefined) {
    yield* gunzipFile(path, inflater, consumed);
    return;
  }
  const file = createReadStream(path, { highWaterMark: chunkSize });
  if (compression === "none") {
    for await (const chunk of file) {
      consumed(file.bytesRead);
      yield chunk;
    }
    return;
  }
  const options = { chunkSize, highWaterMark: 2 * chunkSize };
  const decompressor = compression === "gzip" ? createGunzip(options) : createZstdDecompress(options);
  // Errors of either end destroy the other and reach the reader below.
  pipeline(file, decompressor, () => {});
  try {
    for await (const chunk of decompressor) {
      consumed(file.bytesRead);
      yield chunk;
    }
  } finally {
    file.destroy();
    decompressor.destroy();
  }
}

async function readCompression(path: string): Promise<Compression> {
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
  return detectCompression(buffer.subarray(0, bytesRead));
}

/** zlib's errors have codes of their own (Z_DATA_ERROR, Z_BUF_ERROR, ZSTD_error_…). */
function isCompressionError(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && /^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(String(error.code))
  );
}
