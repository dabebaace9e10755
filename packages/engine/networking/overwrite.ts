/**
 * Changing a file that is bound over a container's: in place, since another file of that name would not be the one the
 * container has.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";

/** Over the blocks that it has: on a full disk a file that was emptied first would stay empty. */
export function overwrite(path: string, text: string): void {
  const file = openSync(path, "r+");
  try {
    ftruncateSync(file, writeSync(file, text, 0));
  } finally {
    closeSync(file);
  }
}
