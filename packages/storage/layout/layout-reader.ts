/**
 * Reads a layout: its trailer, and its records one after the other.
 *
 * Holds one block. What is wrong with the file is an error about the layer, never about its content.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { crc32, zstdDecompressSync } from "node:zlib";
import { BerthError } from "#errors/errors.ts";
import { decodePath } from "#kernel/path-bytes.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import {
  blockLength,
  contentHeadLength,
  damagedLayout,
  type LayoutTrailer,
  layerOf,
  layoutEnd,
  layoutFile,
  layoutMagic,
  partLength,
  partsHeadLength,
  rawHeadLength,
  recordKinds,
  tailLength,
} from "#storage/layout/layout-format.ts";
import type { SparsePart } from "#storage/tar/tar-entry.ts";

export interface ContentRecord {
  path: string;
  /** Bytes in the archive. */
  length: number;
  checksum: number;
  parts: SparsePart[] | undefined;
}

export interface RecordHandler {
  /** Valid during the call alone. */
  raw(bytes: Buffer): void;
  content(record: ContentRecord): void;
}

/** A trailer is small but for archives that replace their own entries over and over. */
const longestTrailer = 256 * 1024 * 1024;

export class LayoutReader implements Disposable {
  readonly trailer: LayoutTrailer;
  readonly #directory: string;
  readonly #fd: number;
  /** Where the blocks end. */
  readonly #end: number;
  #offset = layoutMagic.length;

  /** Throws "conflict" where the layer has no layout, "internal" where it is damaged. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#fd = openLayout(directory);
    try {
      const { trailer, at } = this.#readTrailer();
      this.trailer = trailer;
      this.#end = at;
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  /** The plain bytes of the next block; undefined after the last. */
  nextBlock(): Buffer | undefined {
    const head = this.#read(this.#offset, 4);
    const stored = head.readUInt32LE(0);
    if (stored === 0) {
      if (this.#offset + 4 !== this.#end) throw this.#damaged("a block is missing");
      return undefined;
    }
    const plain = this.#read(this.#offset + 4, 4).readUInt32LE(0);
    if (this.#offset + 8 + stored > this.#end || plain > blockLength)
      throw this.#damaged("a block is too long");
    const frame = this.#read(this.#offset + 8, stored);
    this.#offset += 8 + stored;
    try {
      const block = zstdDecompressSync(frame, { maxOutputLength: blockLength });
      if (block.length === plain) return block;
    } catch (cause) {
      throw damagedLayout(this.#directory, "a block cannot be read", cause);
    }
    throw this.#damaged("a block has another length");
  }

  #readTrailer(): { trailer: LayoutTrailer; at: number } {
    const { size } = fstatSync(this.#fd);
    const magic = this.#read(0, layoutMagic.length);
    if (!magic.equals(layoutMagic) || size < layoutMagic.length + 4 + tailLength)
      throw this.#damaged("its beginning is wrong");
    const tail = this.#read(size - tailLength, tailLength);
    const length = tail.readUInt32LE(0);
    const at = size - tailLength - length;
    if (!tail.subarray(8).equals(layoutEnd) || at < layoutMagic.length || length > longestTrailer) {
      throw this.#damaged("its end is missing");
    }
    const text = this.#read(at, length);
    if (crc32(text) !== tail.readUInt32LE(4)) throw this.#damaged("its end has another checksum");
    return { trailer: JSON.parse(text.toString("utf8")) as LayoutTrailer, at };
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.#fd, bytes, done, length - done, at + done);
      if (got === 0) throw this.#damaged("it is cut short");
      done += got;
    }
    return bytes;
  }

  #damaged(reason: string): BerthError {
    return damagedLayout(this.#directory, reason);
  }
}

function openLayout(directory: string): number {
  try {
    return openSync(join(directory, layoutFile), "r");
  } catch (cause) {
    if (!isErrno(cause, "ENOENT")) throw cause;
    throw new BerthError(
      "conflict",
      `layer ${layerOf(directory)} was stored without the layout of its archive`,
      {
        operation: "replay layer",
        object: directory,
        hint: "Remove the image and pull or load it again: layers are stored with it now.",
        cause,
      },
    );
  }
}

/** A record of raw bytes, or of content, at the head of what is left of a block. */
export type LayoutRecord = { kind: "raw"; bytes: Buffer } | { kind: "content"; content: ContentRecord };

/** Takes blocks apart. Carries what one record says about the next. */
export class RecordDecoder {
  readonly #directory: string;
  #path: Buffer = Buffer.alloc(0);
  #parts: SparsePart[] | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  *records(block: Buffer): Generator<LayoutRecord> {
    let at = 0;
    while (at < block.length) {
      const kind = block[at];
      if (kind === recordKinds.raw) {
        const length = this.#count(block, at, rawHeadLength, 1);
        at += rawHeadLength;
        yield { kind: "raw", bytes: block.subarray(at, at + length) };
        at += length;
      } else if (kind === recordKinds.parts) {
        const count = this.#count(block, at, partsHeadLength, partLength);
        at += partsHeadLength;
        this.#parts ??= [];
        for (const end = at + count * partLength; at < end; at += partLength) {
          this.#parts.push({ offset: block.readDoubleLE(at), length: block.readDoubleLE(at + 8) });
        }
      } else if (kind === recordKinds.content) {
        const content = this.#content(block, at);
        at += contentHeadLength + block.readUInt16LE(at + 3);
        yield { kind: "content", content };
      } else {
        throw damagedLayout(this.#directory, `a record of kind ${kind}`);
      }
    }
  }

  #content(block: Buffer, at: number): ContentRecord {
    if (at + contentHeadLength > block.length) throw damagedLayout(this.#directory, "a record is cut short");
    const kept = block.readUInt16LE(at + 1);
    const added = block.readUInt16LE(at + 3);
    const from = at + contentHeadLength;
    if (kept > this.#path.length || from + added > block.length) {
      throw damagedLayout(this.#directory, "a record is cut short");
    }
    const path = Buffer.allocUnsafe(kept + added);
    this.#path.copy(path, 0, 0, kept);
    block.copy(path, kept, from, from + added);
    this.#path = path;
    const parts = this.#parts;
    this.#parts = undefined;
    return {
      path: decodePath(path),
      length: block.readDoubleLE(at + 9),
      checksum: block.readUInt32LE(at + 5),
      parts,
    };
  }

  /** The 32-bit count behind the kind; `each`: bytes of one. */
  #count(block: Buffer, at: number, head: number, each: number): number {
    const count = at + head <= block.length ? block.readUInt32LE(at + 1) : Number.POSITIVE_INFINITY;
    if (at + head + count * each > block.length)
      throw damagedLayout(this.#directory, "a record is cut short");
    return count;
  }
}
