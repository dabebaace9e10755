/**
 * Writes a layout while its archive is read: bytes are gathered, compressed block by block and appended to the file.
 *
 * Holds one block. Flushing to the disk is left to whoever flushes the layer; until `finish` the file says that it is
 * incomplete.
 */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { constants, crc32, zstdCompressSync } from "node:zlib";
import { mkdirat, renameat2 } from "#kernel/file-syscalls.ts";
import { pathBytes } from "#kernel/path-bytes.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import {
  blockLength,
  contentHeadLength,
  type LayoutTrailer,
  layoutEnd,
  layoutFile,
  layoutMagic,
  partLength,
  partsHeadLength,
  partsPerRecord,
  rawHeadLength,
  recordKinds,
  replacedDirectory,
} from "#storage/layout/layout-format.ts";
import type { SparsePart } from "#storage/tar/tar-entry.ts";

/** Headers repeat each other so much that more effort gains little. */
const compression = {
  params: { [constants.ZSTD_c_compressionLevel]: 2, [constants.ZSTD_c_checksumFlag]: 1 },
};

export class LayoutWriter implements Disposable {
  readonly #directory: string;
  readonly #block = Buffer.allocUnsafe(blockLength);
  #fd: number;
  #length = 0;
  /** Where in the block the open record of raw bytes begins; -1 if none is open. */
  #rawAt = -1;
  #lastPath: Buffer = Buffer.alloc(0);
  #contents = 0;
  readonly #replaced: LayoutTrailer["replaced"] = [];

  /** Makes `directory`, in place of an earlier one of that name. */
  constructor(directory: string) {
    this.#directory = directory;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { mode: 0o700 });
    this.#fd = openSync(join(directory, layoutFile), "wx", 0o600);
    writeSync(this.#fd, layoutMagic);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Bytes of the archive that are in no file. */
  raw(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (blockLength - this.#length <= rawHeadLength) this.#flush();
      if (this.#rawAt < 0) {
        this.#rawAt = this.#length;
        this.#block[this.#length] = recordKinds.raw;
        this.#length += rawHeadLength;
      }
      const copied = bytes.copy(this.#block, this.#length, at);
      this.#length += copied;
      at += copied;
      if (this.#length === blockLength) this.#flush();
    }
  }

  /** Content that is in the file `path` of the layer: `length` bytes, of a sparse file those of its `parts`. */
  content(path: string, length: number, checksum: number, parts: readonly SparsePart[] | undefined): void {
    this.#endRaw();
    for (let from = 0; from < (parts?.length ?? 0); from += partsPerRecord) {
      this.#parts(parts?.slice(from, from + partsPerRecord) ?? []);
    }
    const bytes = pathBytes(path);
    // In a new block too: what it is read after is the same.
    this.#room(contentHeadLength + bytes.length);
    const kept = commonLength(this.#lastPath, bytes);
    const block = this.#block;
    let at = this.#length;
    block[at] = recordKinds.content;
    block.writeUInt16LE(kept, at + 1);
    block.writeUInt16LE(bytes.length - kept, at + 3);
    block.writeUInt32LE(checksum, at + 5);
    block.writeDoubleLE(length, at + 9);
    at += contentHeadLength;
    this.#length = at + bytes.copy(block, at, kept);
    this.#lastPath = bytes;
    this.#contents += 1;
  }

  #parts(parts: readonly SparsePart[]): void {
    this.#room(partsHeadLength + partLength * parts.length);
    this.#block[this.#length] = recordKinds.parts;
    this.#block.writeUInt32LE(parts.length, this.#length + 1);
    this.#length += partsHeadLength;
    for (const { offset, length } of parts) {
      this.#block.writeDoubleLE(offset, this.#length);
      this.#block.writeDoubleLE(length, this.#length + 8);
      this.#length += partLength;
    }
  }

  /**
   * Takes what is at `name` in an open directory away, `path` in the layer, and keeps it: a later entry of the archive
   * replaces it. The archive has its content still.
   */
  keep(parent: number, name: string, path: string): void {
    const kept = join(this.#directory, replacedDirectory);
    if (this.#replaced.length === 0) mkdirat(AT_FDCWD, kept, 0o700);
    const target = join(kept, String(this.#replaced.length));
    renameat2(parent, name, AT_FDCWD, target);
    this.#replaced.push([path, this.#contents]);
  }

  /** Writes the end. The layout is whole then. */
  finish(size: number, diffId: string): void {
    this.#flush();
    const trailer: LayoutTrailer = { size, diffId, contents: this.#contents, replaced: this.#replaced };
    const text = Buffer.from(JSON.stringify(trailer));
    const tail = Buffer.alloc(8);
    tail.writeUInt32LE(text.length, 0);
    tail.writeUInt32LE(crc32(text), 4);
    this.#write(Buffer.concat([Buffer.alloc(4), text, tail, layoutEnd]));
    this[Symbol.dispose]();
  }

  /** Makes room for a record that may not be split. */
  #room(length: number): void {
    if (blockLength - this.#length < length) this.#flush();
  }

  #endRaw(): void {
    if (this.#rawAt < 0) return;
    this.#block.writeUInt32LE(this.#length - this.#rawAt - rawHeadLength, this.#rawAt + 1);
    this.#rawAt = -1;
  }

  #flush(): void {
    this.#endRaw();
    if (this.#length === 0) return;
    const stored = zstdCompressSync(this.#block.subarray(0, this.#length), compression);
    const head = Buffer.alloc(8);
    head.writeUInt32LE(stored.length, 0);
    head.writeUInt32LE(this.#length, 4);
    this.#length = 0;
    this.#write(head);
    this.#write(stored);
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
  }
}

function commonLength(a: Buffer, b: Buffer): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
