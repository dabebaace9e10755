/**
 * Databases on btrfs. It writes nothing over what is there, but to a new place, so that on a full disk even what a file has
 * already cannot be written again: neither the rows that say what is being removed, nor the file that SQLite maps.
 * Both are avoided here, for SQLite does not know.
 */
import { rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { isBtrfsPath } from "#kernel/btrfs.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { FS_NOCOW_FL, getInodeFlags, setInodeFlags } from "#kernel/inode-flags.ts";
import { O_RDWR, open } from "#kernel/syscalls.ts";

/** Bytes that SQLite's index of the log takes at least, and what a file of that size takes itself. */
const mappedBytes = 64 * 1024;

/** Must a database at this path be opened by one connection alone, that is, without a file that is mapped? */
export function needsOneConnection(path: string): boolean {
  return path !== ":memory:" && isBtrfsPath(dirname(path));
}

/** Has the database and its log, if they are yet to be made, written in their own place. Never fails: it is a help. */
export function keepInPlace(path: string): void {
  for (const file of [path, `${path}-wal`]) {
    // What has content keeps the place it has.
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0) continue;
    try {
      writeFileSync(file, "", { flag: "a", mode: 0o644 });
      using opened = new FileDescriptor(open(file, O_RDWR));
      setInodeFlags(opened.number, (getInodeFlags(opened.number) ?? 0) | FS_NOCOW_FL);
    } catch {
      return; // The disk is full, or may not be written to: opening the database tells.
    }
  }
}

/** Would a mapped file beside the database end the process when it is written to (SIGBUS)? */
export function cannotBeMapped(path: string): boolean {
  if (!needsOneConnection(path)) return false;
  const trial = `${path}.room`;
  try {
    writeFileSync(trial, Buffer.alloc(mappedBytes, 1), { flush: true });
    return false;
  } catch (error) {
    return ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "");
  } finally {
    rmSync(trial, { force: true });
  }
}
