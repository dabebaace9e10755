/**
 * A streaming tar reader: bytes are pushed in, entries and their contents come out.
 *
 * Understands v7, ustar, GNU (long names, old sparse) and pax (all of it that matters for layers, with SCHILY.xattr and
 * LIBARCHIVE.xattr). Global pax headers are read and ignored, as Docker does. What it holds in memory is bounded
 * by maxHeaderBytes whatever the archive says. It knows nothing of file systems: names come out as they are.
 */

import { decodePath } from "#kernel/path-bytes.ts";
import { maxHeaderBytes, type PaxRecord, parsePax } from "#storage/tar/pax.ts";
import { applyPaxRecords, type PendingEntry } from "#storage/tar/pax-fields.ts";
import { checkParts, maxSparseParts, readGnuParts, SparseMapCollector } from "#storage/tar/sparse.ts";
import {
  blockSize,
  malformedArchive,
  type SparsePart,
  type TarEntry,
  type TarEntryType,
} from "#storage/tar/tar-entry.ts";
import { decodeHeader, number, type RawHeader } from "#storage/tar/tar-header.ts";

export interface TarHandler {
  /** A new entry. For files its content follows, then `end`; for the others `end` at once. */
  entry(entry: TarEntry): void;
  /** Bytes of the file's content that belong at `offset`; valid only during the call. Holes are not told. */
  data(chunk: Buffer, offset: number): void;
  /** The entry is complete. */
  end(): void;
  /**
   * All that `data` does not tell, in the order of the archive: headers before their `entry`, maps of sparse files, padding,
   * whatever follows the end mark. Valid only during the call.
   */
  raw?(bytes: Buffer): void;
}

/** What the bytes that come next are. */
type State =
  | "header"
  | "content" // of a file
  | "padding"
  | "special" // content of an extended header or long name
  | "gnu-sparse" // extension blocks of an old sparse header
  | "sparse-map" // at the start of the content, pax sparse 1.0
  | "finished";

export class TarReader {
  readonly #handler: TarHandler;
  readonly #raw: ((bytes: Buffer) => void) | undefined;
  #state: State = "header";
  /** Bytes consumed before the current chunk's position. */
  #offset = 0;

  /** A block that began in an earlier chunk. */
  readonly #partial = Buffer.alloc(blockSize);
  #partialLength = 0;

  /** Bytes of content or padding still to come in this state. */
  #remaining = 0;
  #paddingAfter = 0;

  #special: { typeFlag: string; chunks: Buffer[]; at: number } | undefined;
  #paxRecords: PaxRecord[] | undefined;
  /** Length of all extended headers since the last entry. */
  #paxBytes = 0;
  #longName: string | undefined;
  #longLink: string | undefined;
  #zeroBlocks = 0;

  #parts: SparsePart[] | undefined;
  #partIndex = 0;
  /** Where in the file the next content byte belongs. */
  #fileOffset = 0;
  #pending: PendingEntry | undefined;
  #collector: SparseMapCollector | undefined;

  constructor(handler: TarHandler) {
    this.#handler = handler;
    this.#raw = handler.raw?.bind(handler);
  }

  /** True once the end mark was read; further bytes are ignored. */
  get finished(): boolean {
    return this.#state === "finished";
  }

  /** Takes the next bytes of the archive. Throws "invalid" for a malformed one, and whatever the handler throws. */
  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#state !== "finished") {
      const used =
        this.#state === "content" || this.#state === "padding" || this.#state === "special"
          ? this.#takeBytes(chunk, at)
          : this.#takeBlock(chunk, at);
      at += used;
      this.#offset += used;
    }
    if (at < chunk.length) this.#raw?.(chunk.subarray(at));
    this.#offset += chunk.length - at;
  }

  /** Says that there are no more bytes. Throws "invalid" if the archive stops in the middle of an entry. */
  finish(): void {
    if (this.#state === "finished") return;
    const inside =
      this.#state !== "header" ||
      this.#partialLength > 0 ||
      this.#paxRecords !== undefined ||
      this.#longName !== undefined ||
      this.#longLink !== undefined;
    if (inside) throw malformedArchive("unexpected end: the archive is truncated", this.#offset);
    this.#state = "finished";
  }

  /** Consumes up to one block, once it is complete. */
  #takeBlock(chunk: Buffer, at: number): number {
    const missing = blockSize - this.#partialLength;
    const available = chunk.length - at;
    if (this.#partialLength === 0 && available >= blockSize) {
      this.#block(chunk.subarray(at, at + blockSize));
      return blockSize;
    }
    const used = Math.min(missing, available);
    chunk.copy(this.#partial, this.#partialLength, at, at + used);
    this.#partialLength += used;
    if (this.#partialLength === blockSize) {
      this.#partialLength = 0;
      this.#block(this.#partial);
    }
    return used;
  }

  #block(block: Buffer): void {
    this.#raw?.(block);
    if (this.#state === "gnu-sparse") this.#gnuSparseBlock(block);
    else if (this.#state === "sparse-map") this.#sparseMapBlock(block);
    else this.#headerBlock(block);
  }

  #takeBytes(chunk: Buffer, at: number): number {
    const used = Math.min(this.#remaining, chunk.length - at);
    if (used > 0) {
      this.#remaining -= used;
      const bytes = chunk.subarray(at, at + used);
      if (this.#state === "content") this.#content(bytes);
      else {
        this.#raw?.(bytes);
        if (this.#state === "special") this.#special?.chunks.push(Buffer.from(bytes));
      }
    }
    if (this.#remaining === 0) this.#sectionDone();
    return used;
  }

  #sectionDone(): void {
    if (this.#state === "padding") {
      this.#state = "header";
      return;
    }
    if (this.#state === "content") this.#handler.end();
    else this.#specialDone();
    this.#enter("padding", this.#paddingAfter);
  }

  #enter(state: "content" | "padding" | "special", length: number): void {
    this.#state = state;
    this.#remaining = length;
    if (state !== "padding") this.#paddingAfter = padding(length);
    if (length === 0) this.#sectionDone();
  }

  #headerBlock(block: Buffer): void {
    const at = this.#offset;
    const header = decodeHeader(block, at);
    if (header === undefined) {
      this.#zeroBlocks += 1;
      if (this.#zeroBlocks === 2) {
        this.#endMark(at);
      }
      return;
    }
    if (this.#zeroBlocks > 0) throw malformedArchive("a single zero block is followed by more", at);
    switch (header.typeFlag) {
      case "x":
      case "X":
      case "g":
      case "L":
      case "K":
        this.#startSpecial(header, at);
        break;
      default:
        this.#startEntry(header, at);
    }
  }

  #endMark(at: number): void {
    if (this.#paxRecords !== undefined || this.#longName !== undefined || this.#longLink !== undefined) {
      throw malformedArchive("the archive ends after an extended header", at);
    }
    this.#state = "finished";
  }

  #startSpecial(header: RawHeader, at: number): void {
    if (header.size < 0 || header.size > maxHeaderBytes) {
      throw malformedArchive(`extended header of ${header.size} bytes (at most ${maxHeaderBytes})`, at);
    }
    this.#special = { typeFlag: header.typeFlag, chunks: [], at };
    this.#enter("special", header.size);
  }

  #specialDone(): void {
    const special = this.#special;
    if (special === undefined) return;
    this.#special = undefined;
    const bytes = Buffer.concat(special.chunks);
    switch (special.typeFlag) {
      case "x":
      case "X":
        // A second one before the same entry adds to the first; both count against the limit.
        this.#paxBytes += bytes.length;
        if (this.#paxBytes > maxHeaderBytes) throw malformedArchive("too many extended headers", special.at);
        this.#paxRecords = (this.#paxRecords ?? []).concat(parsePax(bytes, special.at));
        break;
      case "g":
        parsePax(bytes, special.at);
        break;
      case "L":
        this.#longName = cString(bytes);
        break;
      default:
        this.#longLink = cString(bytes);
    }
  }

  #startEntry(header: RawHeader, at: number): void {
    const records = this.#paxRecords ?? [];
    if (this.#longName !== undefined) header.name = this.#longName;
    if (this.#longLink !== undefined) header.linkName = this.#longLink;
    this.#paxRecords = undefined;
    this.#paxBytes = 0;
    this.#longName = undefined;
    this.#longLink = undefined;
    const pending = applyPaxRecords(header, typeOf(header, at), records, at);
    this.#pending = pending;
    if (header.typeFlag === "S") {
      pending.entry.size = number(header.block, 483, 12, "real size", at);
      pending.parts = readGnuParts(header.block, 386, 4, at);
      if (header.block[482] !== 0) {
        this.#state = "gnu-sparse";
        return;
      }
    }
    if (pending.mapInContent) {
      this.#collector = new SparseMapCollector(at);
      this.#state = "sparse-map";
      return;
    }
    this.#announce(at);
  }

  #gnuSparseBlock(block: Buffer): void {
    const parts = this.#pending?.parts ?? [];
    parts.push(...readGnuParts(block, 0, 21, this.#offset));
    if (parts.length > maxSparseParts) throw malformedArchive("sparse map has too many parts", this.#offset);
    if (block[504] === 0) this.#announce(this.#offset);
  }

  #sparseMapBlock(block: Buffer): void {
    const pending = this.#pending;
    if (pending === undefined || pending.stored < blockSize) {
      throw malformedArchive("sparse map is longer than the content", this.#offset);
    }
    pending.stored -= blockSize;
    const parts = this.#collector?.addBlock(block);
    if (parts === undefined) return;
    this.#collector = undefined;
    pending.parts = parts;
    this.#announce(this.#offset);
  }

  /** Everything about the entry is known: tell it, and go on with its content. */
  #announce(at: number): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#pending = undefined;
    const { entry, stored } = pending;
    if (!Number.isSafeInteger(entry.size) || entry.size < 0 || stored < 0) {
      throw malformedArchive(`size of ${entry.size} bytes`, at, entry.name);
    }
    this.#parts = undefined;
    if (pending.parts !== undefined) {
      this.#parts = checkParts(pending.parts, entry.size, stored, at);
      entry.sparse = this.#parts;
    }
    this.#partIndex = 0;
    this.#fileOffset = this.#parts?.[0]?.offset ?? 0;
    this.#handler.entry(entry);
    this.#enter("content", stored);
  }

  #content(bytes: Buffer): void {
    if (this.#parts === undefined) {
      this.#handler.data(bytes, this.#fileOffset);
      this.#fileOffset += bytes.length;
      return;
    }
    let at = 0;
    while (at < bytes.length) {
      const part = this.#parts[this.#partIndex] as SparsePart;
      const used = Math.min(bytes.length - at, part.offset + part.length - this.#fileOffset);
      this.#handler.data(bytes.subarray(at, at + used), this.#fileOffset);
      at += used;
      this.#fileOffset += used;
      if (this.#fileOffset === part.offset + part.length) {
        this.#partIndex += 1;
        this.#fileOffset = this.#parts[this.#partIndex]?.offset ?? this.#fileOffset;
      }
    }
  }
}

function padding(length: number): number {
  return (blockSize - (length % blockSize)) % blockSize;
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return decodePath(end < 0 ? bytes : bytes.subarray(0, end));
}

function typeOf(header: RawHeader, at: number): TarEntryType {
  switch (header.typeFlag) {
    case "0":
    case "\0":
    case "7":
      // Before POSIX a directory was a file whose name ends in a slash.
      return header.name.endsWith("/") ? "directory" : "file";
    case "S":
      return "file";
    case "1":
      return "hardlink";
    case "2":
      return "symlink";
    case "3":
      return "character-device";
    case "4":
      return "block-device";
    case "5":
      return "directory";
    case "6":
      return "fifo";
    default:
      throw malformedArchive(`unknown entry type ${JSON.stringify(header.typeFlag)}`, at, header.name);
  }
}
