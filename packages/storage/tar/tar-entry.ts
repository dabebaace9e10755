/**
 * One entry of a tar archive, the same for reader and writer, and the error for archives that are wrong.
 */
import { BerthError } from "#errors/errors.ts";

export type TarEntryType =
  | "file"
  | "hardlink"
  | "symlink"
  | "character-device"
  | "block-device"
  | "directory"
  | "fifo";

export interface TarEntry {
  type: TarEntryType;
  /** As in the archive: may be absolute, hold "..", or end in "/". Bytes outside UTF-8 as in kernel/path-bytes.ts. */
  name: string;
  /** Target of a hard or symbolic link, else "". */
  linkName: string;
  /** Permission bits with set-user-id, set-group-id and sticky (07777). */
  mode: number;
  uid: number;
  gid: number;
  userName: string;
  groupName: string;
  /** Length of the file's content, holes included; 0 for everything but files. */
  size: number;
  /** Nanoseconds since the epoch. */
  modifiedAt: bigint;
  /** Undefined where the archive does not tell. */
  accessedAt?: bigint | undefined;
  /** Numbers of a device node. */
  major: number;
  minor: number;
  /** Extended attributes: "security.capability" → bytes. */
  xattrs: Map<string, Buffer>;
  /** The parts of a sparse file that hold data, ascending and apart; undefined for ordinary files. */
  sparse?: SparsePart[] | undefined;
}

export interface SparsePart {
  /** Where in the file, bytes. */
  offset: number;
  length: number;
}

/** Bytes of a block; headers and contents are padded to it. */
export const blockSize = 512;

/** The error of a malformed archive: says where (byte offset of the uncompressed archive) and what. */
export function malformedArchive(reason: string, at?: number, entry?: string): BerthError {
  const place = at === undefined ? "" : ` at byte ${at}`;
  const where = entry === undefined ? "" : ` (entry ${JSON.stringify(entry)})`;
  return new BerthError("invalid", `malformed tar archive${place}${where}: ${reason}`, {
    operation: "read archive",
    ...(entry === undefined ? {} : { object: entry }),
  });
}
