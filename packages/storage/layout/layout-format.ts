/**
 * The layout of a layer's archive: everything the archive had beyond what the layer's directory holds, so that the very
 * same bytes can be written again. The format, for writer and reader.
 *
 * A layout is a directory: the file `archive`, and in `replaced/<n>` what later entries of the archive replaced.
 *
 *   archive = magic, blocks, u32 0, trailer (JSON), u32 its length, u32 its crc32, end magic
 *   block   = u32 stored length, u32 plain length, zstd frame with checksum; plain: whole records
 *   record  = 1, u32 length, bytes                          bytes of the archive as they are
 *           | 2, u32 n, n × (f64 offset, f64 length)        parts of the sparse file that comes next; may be repeated
 *           | 3, u16 kept, u16 added, u32 crc32, f64 length, path
 *                                                           content of a file: path = that of the record before, cut to
 *                                                           `kept` bytes, and `added` more; `length` bytes in the archive
 *
 * All numbers are little-endian. Paths are as the kernel sees them in the layer's directory, without links. A file without
 * the end is one whose writing was cut short.
 */
import { BerthError } from "#errors/errors.ts";

export const layoutFile = "archive";
export const replacedDirectory = "replaced";

export const layoutMagic: Buffer = Buffer.from("BERTHLY1");
export const layoutEnd: Buffer = Buffer.from("BERTHLYE");
/** Length of the trailer, its crc32, the end magic. */
export const tailLength: number = 8 + layoutEnd.length;

export const recordKinds = { raw: 1, parts: 2, content: 3 } as const;
export const rawHeadLength = 5;
export const partsHeadLength = 5;
export const partLength = 16;
export const contentHeadLength = 17;

/** Plain bytes of a block at most: what writer and reader hold. Larger than any path. */
export const blockLength: number = 512 * 1024;
/** Parts in one record at most. */
export const partsPerRecord = 4096;

export interface LayoutTrailer {
  /** Bytes of the whole archive. */
  size: number;
  /** "sha256:…" of the whole archive. */
  diffId: string;
  /** Number of content records. */
  contents: number;
  /** What was replaced, in order: its path, and how many content records were written by then. */
  replaced: [path: string, contents: number][];
}

/** What a layout was to tell cannot be told. */
export function damagedLayout(directory: string, reason: string, cause?: unknown): BerthError {
  return new BerthError(
    "internal",
    `the archive layout of layer ${layerOf(directory)} is damaged: ${reason}`,
    {
      operation: "replay layer",
      object: directory,
      hint: "Remove the image and pull or load it again.",
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** The name in messages: the cache id, which is a part of the path whatever the driver. */
export function layerOf(directory: string): string {
  return /[0-9a-f]{64}/.exec(directory)?.[0] ?? directory;
}
