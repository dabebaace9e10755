/**
 * The small files and links beside a layer's content, all of them in directories of the daemon's own.
 */
import { lstatSync, readFileSync, unlinkSync } from "node:fs";
import { isErrno } from "#kernel/syscall-error.ts";

/** Is there a name, a dangling link included? */
export function pathExists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Content of a small file; undefined if there is none. */
export function readIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Removes a name that may be gone already. */
export function removeIfExists(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
