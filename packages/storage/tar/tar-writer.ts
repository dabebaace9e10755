/**
 * Writes tar archives: ustar headers, with a pax header before entries that need one. The same entries always give
 * the same bytes.
 *
 * Pure: `encodeEntry` gives the bytes before the content, `paddingFor` those after it, `endOfArchive` the mark.
 */
import { pathBytes } from "#kernel/path-bytes.ts";
import { encodePaxRecord, formatPaxTime } from "#storage/tar/pax.ts";
import { blockSize, type TarEntry, type TarEntryType } from "#storage/tar/tar-entry.ts";
import { encodeHeader, octalLimit, splitName } from "#storage/tar/tar-header.ts";

const typeFlags: Record<TarEntryType, string> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
};

/** The end of every archive: two zero blocks. */
export const endOfArchive: Buffer = Buffer.alloc(2 * blockSize);

/** Zero bytes to write after content of `size` bytes. */
export function paddingFor(size: number): Buffer {
  return Buffer.alloc((blockSize - (size % blockSize)) % blockSize);
}

/**
 * Header blocks of an entry. Directories get a final "/". A file's content follows, `entry.size` bytes and padding;
 * holes are written as zeros (`entry.sparse` is ignored).
 */
export function encodeEntry(entry: TarEntry): Buffer {
  const name = entry.type === "directory" && !entry.name.endsWith("/") ? `${entry.name}/` : entry.name;
  const size = entry.type === "file" ? entry.size : 0;
  const seconds = floorSeconds(entry.modifiedAt);
  const records = paxRecords(entry, name, size, seconds);
  const header = encodeHeader({
    name,
    mode: entry.mode & 0o7777,
    uid: entry.uid,
    gid: entry.gid,
    size,
    mtime: seconds,
    typeFlag: typeFlags[entry.type],
    linkName: entry.linkName,
    userName: entry.userName,
    groupName: entry.groupName,
    major: entry.major,
    minor: entry.minor,
  });
  if (records.length === 0) return header;
  const content = Buffer.concat(records);
  const paxHeader = encodeHeader({
    name: paxName(name),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: content.length,
    mtime: 0,
    typeFlag: "x",
    linkName: "",
    userName: "",
    groupName: "",
    major: 0,
    minor: 0,
  });
  return Buffer.concat([paxHeader, content, paddingFor(content.length), header]);
}

/** Records for whatever the ustar header cannot hold, in a fixed order. */
function paxRecords(entry: TarEntry, name: string, size: number, seconds: number): Buffer[] {
  const records: Buffer[] = [];
  const nameBytes = pathBytes(name);
  if (splitName(nameBytes) === undefined || !isAscii(nameBytes)) records.push(encodePaxRecord("path", name));
  const linkBytes = pathBytes(entry.linkName);
  if (linkBytes.length > 100 || !isAscii(linkBytes))
    records.push(encodePaxRecord("linkpath", entry.linkName));
  if (size > octalLimit(12)) records.push(encodePaxRecord("size", String(size)));
  if (entry.uid > octalLimit(8)) records.push(encodePaxRecord("uid", String(entry.uid)));
  if (entry.gid > octalLimit(8)) records.push(encodePaxRecord("gid", String(entry.gid)));
  for (const [key, value] of [
    ["uname", entry.userName],
    ["gname", entry.groupName],
  ] as const) {
    const bytes = pathBytes(value);
    if (bytes.length > 31 || !isAscii(bytes)) records.push(encodePaxRecord(key, value));
  }
  if (BigInt(seconds) * 1_000_000_000n !== entry.modifiedAt || seconds < 0 || seconds > octalLimit(12)) {
    records.push(encodePaxRecord("mtime", formatPaxTime(entry.modifiedAt)));
  }
  if (entry.accessedAt !== undefined) {
    records.push(encodePaxRecord("atime", formatPaxTime(entry.accessedAt)));
  }
  const xattrs = [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, value] of xattrs) records.push(encodePaxRecord(`SCHILY.xattr.${key}`, value));
  return records;
}

function isAscii(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte >= 0x80) return false;
  return true;
}

function floorSeconds(time: bigint): number {
  const remainder = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return Number((time - remainder) / 1_000_000_000n);
}

/** Name of the extended header itself; only readers that do not know pax ever use it. */
function paxName(name: string): string {
  const last = name.replace(/\/+$/, "").split("/").at(-1) ?? "";
  const ascii = last.replace(/[^\x21-\x7e]/g, "_");
  return `PaxHeaders.0/${ascii.slice(0, 80)}`;
}
