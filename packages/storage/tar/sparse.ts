/**
 * Sparse files: the four ways an archive can say where a file has holes (old GNU headers; pax 0.0, 0.1 and 1.0).
 *
 * All end in one list of parts that hold data, checked here: ascending, apart, inside the file, as long as the data.
 */
import { type PaxRecord, parsePaxInteger } from "#storage/tar/pax.ts";
import { malformedArchive, type SparsePart } from "#storage/tar/tar-entry.ts";
import { number } from "#storage/tar/tar-header.ts";

/** More parts than this are refused: no honest file has them, and they are kept in memory. */
export const maxSparseParts = 262_144;

/** Parts in `count` pairs of 12-byte fields of an old GNU header or extension block; an empty pair ends them. */
export function readGnuParts(block: Buffer, at: number, count: number, offset: number): SparsePart[] {
  const parts: SparsePart[] = [];
  for (let i = 0; i < count; i++) {
    const field = at + 24 * i;
    if (block[field] === 0) break;
    parts.push({
      offset: number(block, field, 12, "sparse offset", offset),
      length: number(block, field + 12, 12, "sparse length", offset),
    });
  }
  return parts;
}

/** Parts told by pax records, versions 0.0 (repeated keys) and 0.1 (one list); undefined if there are none. */
export function readPaxParts(records: readonly PaxRecord[], at: number): SparsePart[] | undefined {
  const map = records.findLast((record) => record.key === "GNU.sparse.map");
  const repeated = records.filter(({ key }) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes");
  if (map === undefined && repeated.length === 0) {
    const count = records.findLast((record) => record.key === "GNU.sparse.numblocks");
    return count === undefined ? undefined : [];
  }
  const numbers =
    map === undefined ? repeated.map(({ value }) => value.toString()) : splitMap(map.value.toString());
  for (const [index, { key }] of repeated.entries()) {
    if (map === undefined && key !== (index % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes")) {
      throw malformedArchive("sparse map is out of order", at);
    }
  }
  return pair(numbers, at);
}

function splitMap(map: string): string[] {
  return map === "" ? [] : map.split(",");
}

function pair(numbers: string[], at: number): SparsePart[] {
  if (numbers.length % 2 !== 0) throw malformedArchive("sparse map has an odd number of fields", at);
  const parts: SparsePart[] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = parsePaxInteger(numbers[i] as string);
    const length = parsePaxInteger(numbers[i + 1] as string);
    if (offset === undefined || length === undefined)
      throw malformedArchive("sparse map holds no number", at);
    parts.push({ offset, length });
  }
  return parts;
}

/**
 * Version 1.0 has its map at the start of the content: decimal lines (count, then pairs), padded to a block. This collects
 * it block by block.
 */
export class SparseMapCollector {
  #numbers: string[] = [];
  #rest = "";
  #expected: number | undefined;
  readonly #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  /** Takes one block; returns the parts once the map is complete. */
  addBlock(block: Buffer): SparsePart[] | undefined {
    const lines = (this.#rest + block.toString("latin1")).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (this.#expected === undefined) {
        const count = parsePaxInteger(line);
        if (count === undefined || count > maxSparseParts)
          throw malformedArchive("sparse map has a wrong count", this.#at);
        this.#expected = 2 * count;
      } else {
        this.#numbers.push(line);
      }
      if (this.#numbers.length === this.#expected) return pair(this.#numbers, this.#at);
    }
    // A number has at most 20 digits; what follows the last newline is the beginning of one.
    if (this.#rest.length > 20) throw malformedArchive("sparse map holds no number", this.#at);
    return undefined;
  }
}

/** Checks a map against the file's size and the number of bytes stored. Empty parts are dropped. */
export function checkParts(parts: SparsePart[], size: number, stored: number, at: number): SparsePart[] {
  if (parts.length > maxSparseParts) throw malformedArchive("sparse map has too many parts", at);
  let end = 0;
  let total = 0;
  for (const part of parts) {
    if (part.offset < end || part.length < 0) throw malformedArchive("sparse map is out of order", at);
    end = part.offset + part.length;
    if (end > size) throw malformedArchive("sparse map reaches beyond the end of the file", at);
    total += part.length;
  }
  if (total !== stored) throw malformedArchive("sparse map does not match the data stored", at);
  return parts.filter((part) => part.length > 0);
}
