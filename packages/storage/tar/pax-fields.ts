/**
 * How pax records change the entry they stand before.
 */
import { decodePath } from "#kernel/path-bytes.ts";
import { type PaxRecord, parsePaxInteger, parsePaxTime } from "#storage/tar/pax.ts";
import { readPaxParts } from "#storage/tar/sparse.ts";
import {
  malformedArchive,
  type SparsePart,
  type TarEntry,
  type TarEntryType,
} from "#storage/tar/tar-entry.ts";
import type { RawHeader } from "#storage/tar/tar-header.ts";

export interface PendingEntry {
  entry: TarEntry;
  /** Bytes of content in the archive. */
  stored: number;
  /** Map of a sparse file, not yet checked. */
  parts?: SparsePart[];
  /** The map is at the start of the content (pax sparse 1.0). */
  mapInContent: boolean;
}

/** Largest user or group id: 32 bits, without the -1 that chown takes as "leave it". */
const maxId = 0xfffffffe;

/** The entry of a header and the records before it. */
export function applyPaxRecords(
  header: RawHeader,
  type: TarEntryType,
  records: readonly PaxRecord[],
  at: number,
): PendingEntry {
  const entry: TarEntry = {
    type,
    name: header.name,
    linkName: header.linkName,
    mode: header.mode & 0o7777,
    uid: header.uid,
    gid: header.gid,
    userName: header.userName,
    groupName: header.groupName,
    size: 0,
    modifiedAt: BigInt(header.mtime) * 1_000_000_000n,
    major: header.major,
    minor: header.minor,
    xattrs: new Map(),
  };
  // Other kinds have no content, whatever their size field says; writers differ in what they put there.
  let stored = type === "file" ? header.size : 0;
  let realSize: number | undefined;
  let sparseMajor = "";
  for (const { key, value } of records) {
    const invalid = () =>
      malformedArchive(`extended header record ${key} has a wrong value`, at, header.name);
    // An empty value takes the record back: the header's own field counts.
    if (value.length === 0 && !key.includes("xattr.")) continue;
    const text = () => decodePath(value);
    const integer = () => {
      const result = parsePaxInteger(text());
      if (result === undefined) throw invalid();
      return result;
    };
    const time = () => {
      const result = parsePaxTime(text());
      if (result === undefined) throw invalid();
      return result;
    };
    switch (key) {
      case "path":
        entry.name = text();
        break;
      case "GNU.sparse.name":
        // Comes with a `path` that only old readers are meant to see.
        break;
      case "linkpath":
        entry.linkName = text();
        break;
      case "uid":
        entry.uid = integer();
        break;
      case "gid":
        entry.gid = integer();
        break;
      case "uname":
        entry.userName = text();
        break;
      case "gname":
        entry.groupName = text();
        break;
      case "mtime":
        entry.modifiedAt = time();
        break;
      case "atime":
        entry.accessedAt = time();
        break;
      case "size":
        if (type === "file") stored = integer();
        break;
      case "GNU.sparse.size":
      case "GNU.sparse.realsize":
        realSize = integer();
        break;
      case "GNU.sparse.major":
        sparseMajor = text();
        break;
      default:
        addXattr(entry, key, value, at);
    }
  }
  for (const id of [entry.uid, entry.gid]) {
    if (id < 0 || id > maxId) throw malformedArchive(`owner ${id} is out of range`, at, entry.name);
  }
  const sparseName = records.findLast(({ key }) => key === "GNU.sparse.name");
  if (sparseName !== undefined && sparseName.value.length > 0) entry.name = decodePath(sparseName.value);
  entry.size = stored;
  const pending: PendingEntry = { entry, stored, mapInContent: false };
  if (type === "file" && realSize !== undefined) {
    entry.size = realSize;
    if (sparseMajor === "1") pending.mapInContent = true;
    else pending.parts = readPaxParts(records, at) ?? [];
  }
  return pending;
}

const schily = "SCHILY.xattr.";
const libarchive = "LIBARCHIVE.xattr.";

function addXattr(entry: TarEntry, key: string, value: Buffer, at: number): void {
  if (key.startsWith(schily)) {
    entry.xattrs.set(checkName(key.slice(schily.length), entry, at), Buffer.from(value));
    return;
  }
  if (!key.startsWith(libarchive)) return;
  let name: string;
  try {
    name = decodeURIComponent(key.slice(libarchive.length));
  } catch (cause) {
    throw Object.assign(malformedArchive(`attribute name ${key} is wrongly encoded`, at, entry.name), {
      cause,
    });
  }
  // Both kinds are often written side by side; the first is exact.
  if (!entry.xattrs.has(name)) {
    entry.xattrs.set(checkName(name, entry, at), Buffer.from(value.toString("latin1"), "base64"));
  }
}

function checkName(name: string, entry: TarEntry, at: number): string {
  if (name === "" || name.includes("\0")) throw malformedArchive("attribute without a name", at, entry.name);
  return name;
}
