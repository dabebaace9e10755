/**
 * Records of pax extended headers: `<length> <key>=<value>\n`.
 *
 * Values are bytes: extended attributes hold anything. Records stay in order, because the oldest sparse format repeats keys.
 */
import { decodePath, pathBytes } from "#kernel/path-bytes.ts";
import { malformedArchive } from "#storage/tar/tar-entry.ts";

/** Largest extended header or long name accepted, bytes; what Docker accepts as well. */
export const maxHeaderBytes = 1024 * 1024;

export interface PaxRecord {
  key: string;
  value: Buffer;
}

/** Takes an extended header apart. `at` is its offset, for errors. */
export function parsePax(bytes: Buffer, at: number): PaxRecord[] {
  const records: PaxRecord[] = [];
  let start = 0;
  while (start < bytes.length) {
    const space = bytes.indexOf(0x20, start);
    const digits = space < 0 ? "" : bytes.toString("latin1", start, space);
    const length = /^\d{1,8}$/.test(digits) ? Number(digits) : 0;
    const end = start + length;
    // The shortest record is "5 k=\n"-like: the length, a space, at least "=", a newline.
    if (length < digits.length + 3 || end > bytes.length || bytes[end - 1] !== 0x0a) {
      throw malformedArchive("extended header record has a wrong length", at + start);
    }
    const equals = bytes.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end || equals === space + 1) {
      throw malformedArchive("extended header record has no key", at + start);
    }
    const key = decodePath(bytes.subarray(space + 1, equals));
    const value = bytes.subarray(equals + 1, end - 1);
    if (!key.startsWith("SCHILY.xattr.") && value.includes(0)) {
      throw malformedArchive(`extended header record ${JSON.stringify(key)} holds a NUL`, at + start);
    }
    records.push({ key, value });
    start = end;
  }
  return records;
}

/** A record, its length counting its own digits. */
export function encodePaxRecord(key: string, value: string | Buffer): Buffer {
  const content = typeof value === "string" ? pathBytes(value) : value;
  const name = pathBytes(key);
  // Space, "=", newline.
  const base = name.length + content.length + 3;
  let length = base + String(base).length;
  if (base + String(length).length !== length) length = base + String(length).length;
  return Buffer.concat([Buffer.from(`${length} `), name, Buffer.from("="), content, Buffer.from("\n")]);
}

/** Nanoseconds of a decimal number of seconds ("-1.5" is -1500000000); further digits are cut. */
export function parsePaxTime(value: string): bigint | undefined {
  const match = /^(-?)(\d{1,18})(?:\.(\d*))?$/.exec(value);
  if (match?.[2] === undefined) return undefined;
  const fraction = (match[3] ?? "").slice(0, 9).padEnd(9, "0");
  const time = BigInt(match[2]) * 1_000_000_000n + BigInt(fraction);
  return match[1] === "-" ? -time : time;
}

/** The shortest decimal form of nanoseconds as seconds. */
export function formatPaxTime(time: bigint): string {
  const absolute = time < 0n ? -time : time;
  const fraction = String(absolute % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${time < 0n ? "-" : ""}${absolute / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}`;
}

/** A non-negative integer that fits a number. */
export function parsePaxInteger(value: string): number | undefined {
  if (!/^\d{1,20}$/.test(value)) return undefined;
  const result = Number(value);
  return Number.isSafeInteger(result) ? result : undefined;
}
