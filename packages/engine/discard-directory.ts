/**
 * Deleting a directory of a few small files, as every run and every exec leaves one: at once where that is quick, since
 * each asynchronous call costs more than the whole deletion; otherwise without keeping the event loop.
 */
import { rm } from "node:fs/promises";
import { removeTree } from "#kernel/remove-tree.ts";

const AT_ONCE = { entries: 20, time: 1 };

/** Resolves when it is gone, or was not there. */
export async function discardDirectory(path: string): Promise<void> {
  try {
    if (removeTree(path, AT_ONCE)) return;
  } catch {
    // The other way tells what is wrong, if it still is.
  }
  await rm(path, { recursive: true, force: true });
}
