/**
 * The 512-byte header block: fields, number encodings, checksum (POSIX ustar, GNU and the older v7 form).
 */
import { decodePath, pathBytes } from "#kernel/path-bytes.ts";
import { blockSize, malformedArchive } from "#storage/tar/tar-entry.ts";

export interface RawHeader {
  name: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Whole seconds. */
  mtime: number;
  typeFlag: string;
  linkName: string;
  format: "v7" | "ustar" | "gnu" | "star";
  userName: string;
  groupName: string;
  major: number;
  minor: number;
  /** The block itself, for the fields of old GNU sparse files. */
  block: Buffer;
}

/**
 * Decodes a header block; undefined for a block of zeros. `at` is its offset, for errors. The block is referred to, not
 * copied.
 */
export function decodeHeader(block: Buffer, at: number): RawHeader | undefined {
  const stored = parseOctal(block, 148, 8);
  const { unsigned, signed } = checksums(block);
  if (stored === undefined || (stored !== unsigned && stored !== signed)) {
    if (unsigned === 8 * 0x20 && isZero(block)) return undefined;
    throw malformedArchive("header checksum does not match", at);
  }
  const format = formatOf(block);
  let name = text(block, 0, 100);
  if (format === "ustar" || format === "star") {
    const prefix = text(block, 345, format === "star" ? 131 : 155);
    if (prefix !== "") name = `${prefix}/${name}`;
  }
  const extended = format !== "v7";
  return {
    name,
    mode: number(block, 100, 8, "mode", at),
    uid: number(block, 108, 8, "uid", at),
    gid: number(block, 116, 8, "gid", at),
    size: number(block, 124, 12, "size", at),
    mtime: number(block, 136, 12, "mtime", at),
    typeFlag: String.fromCharCode(block[156] as number),
    linkName: text(block, 157, 100),
    format,
    userName: extended ? text(block, 265, 32) : "",
    groupName: extended ? text(block, 297, 32) : "",
    major: extended ? number(block, 329, 8, "device major", at) : 0,
    minor: extended ? number(block, 337, 8, "device minor", at) : 0,
    block,
  };
}

function formatOf(block: Buffer): RawHeader["format"] {
  const magic = block.toString("latin1", 257, 265);
  if (magic === "ustar  \0") return "gnu";
  if (!magic.startsWith("ustar\0")) return "v7";
  return block.toString("latin1", 508, 512) === "tar\0" ? "star" : "ustar";
}

/** Does a file that begins with these bytes look like a tar archive? Its first header, or the zeros of an empty one. */
export function looksLikeTar(start: Buffer): boolean {
  if (start.length < blockSize) return false;
  const block = start.subarray(0, blockSize);
  const stored = parseOctal(block, 148, 8);
  const { unsigned, signed } = checksums(block);
  return stored === unsigned || stored === signed || isZero(block);
}

/** Sum of all bytes with the checksum field as spaces; some old writers summed signed bytes. */
function checksums(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let i = 0; i < 148; i++) {
    const byte = block[i] as number;
    unsigned += byte;
    high += byte >> 7;
  }
  for (let i = 156; i < blockSize; i++) {
    const byte = block[i] as number;
    unsigned += byte;
    high += byte >> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

function isZero(block: Buffer): boolean {
  for (let i = 0; i < blockSize; i++) if (block[i] !== 0) return false;
  return true;
}

/** A text field: up to its first NUL. */
function text(block: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return end === at ? "" : decodePath(block.subarray(at, end));
}

/** A number field: octal digits, or binary when the first bit is set. */
export function number(block: Buffer, at: number, length: number, field: string, offset: number): number {
  const value =
    ((block[at] as number) & 0x80) !== 0 ? parseBinary(block, at, length) : parseOctal(block, at, length);
  if (value === undefined) throw malformedArchive(`field ${field} holds no number`, offset);
  return value;
}

/** Octal digits between optional spaces and NULs; an empty field is 0. Undefined for anything else. */
function parseOctal(block: Buffer, at: number, length: number): number | undefined {
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  for (; i < end; i++) {
    const digit = (block[i] as number) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; i < end; i++) if (block[i] !== 0x20 && block[i] !== 0) return undefined;
  return value;
}

/** GNU's binary form: two's complement, big endian, the first bit only a mark. Undefined beyond 2^53. */
function parseBinary(block: Buffer, at: number, length: number): number | undefined {
  const negative = ((block[at] as number) & 0x40) !== 0;
  let value = BigInt((block[at] as number) & 0x7f);
  for (let i = at + 1; i < at + length; i++) value = (value << 8n) | BigInt(block[i] as number);
  if (negative) value -= 1n << BigInt(8 * length - 1);
  const result = Number(value);
  return Number.isSafeInteger(result) ? result : undefined;
}

/** Largest value that fits into the octal digits of a field that ends in NUL. */
export function octalLimit(length: number): number {
  return 8 ** (length - 1) - 1;
}

export interface HeaderFields {
  name: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Whole seconds. */
  mtime: number;
  typeFlag: string;
  linkName: string;
  userName: string;
  groupName: string;
  major: number;
  minor: number;
}

/**
 * Encodes a ustar header. Values that do not fit are cut (names) or written as zero (numbers): the writer has put them
 * into a pax header before.
 */
export function encodeHeader(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(blockSize);
  const split = splitName(pathBytes(fields.name));
  (split?.name ?? pathBytes(fields.name).subarray(0, 100)).copy(block, 0);
  octal(block, 100, 8, fields.mode);
  octal(block, 108, 8, fields.uid);
  octal(block, 116, 8, fields.gid);
  octal(block, 124, 12, fields.size);
  octal(block, 136, 12, fields.mtime);
  block.write("        ", 148, "latin1");
  block.write(fields.typeFlag, 156, "latin1");
  pathBytes(fields.linkName).subarray(0, 100).copy(block, 157);
  block.write("ustar\x0000", 257, "latin1");
  pathBytes(fields.userName).subarray(0, 31).copy(block, 265);
  pathBytes(fields.groupName).subarray(0, 31).copy(block, 297);
  octal(block, 329, 8, fields.major);
  octal(block, 337, 8, fields.minor);
  split?.prefix.copy(block, 345);
  const { unsigned } = checksums(block);
  block.write(`${unsigned.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  const fits = value >= 0 && value <= octalLimit(length);
  block.write((fits ? value : 0).toString(8).padStart(length - 1, "0"), at, "latin1");
}

/** Name (≤ 100 bytes) and prefix (≤ 155), split at a slash; undefined if it cannot be. */
export function splitName(bytes: Buffer): { name: Buffer; prefix: Buffer } | undefined {
  if (bytes.length <= 100) return { name: bytes, prefix: Buffer.alloc(0) };
  // The last slash that leaves a prefix of at most 155 bytes; the final byte cannot be it, names are not empty.
  const slash = bytes.subarray(0, Math.min(156, bytes.length - 1)).lastIndexOf(0x2f);
  if (slash <= 0 || bytes.length - slash - 1 > 100) return undefined;
  return { name: bytes.subarray(slash + 1), prefix: bytes.subarray(0, slash) };
}
