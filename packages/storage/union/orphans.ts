/**
 * Removing what nobody sees any more: what an earlier mount has left half made, and directories with nothing but marks in
 * them. All of it is in the writable branch.
 */
import { ERRNO } from "#kernel/errno.ts";
import { quickClose, quickOpen, quickUnlink } from "#kernel/fuse/quick-calls.ts";
import { AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "#kernel/syscalls.ts";
import { readEntries } from "#storage/union/listing.ts";
import { checked } from "#storage/union/refused.ts";

/** Empties a directory. */
export function removeOrphans(directory: number): void {
  const names: string[] = [];
  readEntries(directory, (name) => names.push(name));
  for (const name of names) removeOrphan(directory, name);
}

/** Removes one, with all that is in it. */
export function removeOrphan(directory: number, name: string): void {
  const result = quickUnlink(directory, name);
  if (result === 0 || result === -ERRNO.ENOENT) return;
  if (quickUnlink(directory, name, AT_REMOVEDIR) === 0) return;
  const inside = checked(quickOpen(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  try {
    removeOrphans(inside);
  } finally {
    quickClose(inside);
  }
  checked(quickUnlink(directory, name, AT_REMOVEDIR));
}
