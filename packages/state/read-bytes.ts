/** A piece of a file, for looking at what SQLite does not open. */
import { closeSync, openSync, readSync } from "node:fs";

/** As much as there is of `length` bytes from `at` on. */
export function readBytes(path: string, at: number, length: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, at));
  } finally {
    closeSync(fd);
  }
}
