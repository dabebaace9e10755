/** Files that are whole after a power cut, as they were before or as they are now: written beside, synced, renamed, synced. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Replaces the file at `path` in one step. For what is written seldom: waits for the disk twice. */
export function writeDurably(path: string, content: string | Uint8Array, mode: number): void {
  const next = `${path}.${process.pid}.tmp`;
  rmSync(next, { force: true });
  const fd = openSync(next, "wx", mode);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(next, path);
  syncPath(dirname(path));
}

/** A file's content, or what was made, renamed and removed in a directory, has reached the disk when this returns. */
export function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
