/**
 * Deleting the small directories that every run, every exec and every container leave: in a storage thread, many at once. On
 * some file systems each entry takes a tenth of a millisecond, and answers would wait for it in the event loop.
 */
import { rm } from "node:fs/promises";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

interface Discard extends PromiseWithResolvers<void> {
  path: string;
}

const thread = new StorageWorkers(1);
/** What comes while the thread is busy goes together with the next. */
let waiting: Discard[] = [];
let busy = false;

/** Resolves when it is gone, or was not there. */
export function discardDirectory(path: string): Promise<void> {
  const discard = { path, ...Promise.withResolvers<void>() };
  waiting.push(discard);
  if (!busy) {
    busy = true;
    // Not before who waits for what has just ended is answered.
    setImmediate(() => void discardAll());
  }
  return discard.promise;
}

async function discardAll(): Promise<void> {
  while (waiting.length > 0) {
    const batch = waiting;
    waiting = [];
    const paths = batch.map(({ path }) => path);
    const left = await thread.run({ kind: "remove-all", paths }).then(
      (failed) => new Set(failed as string[]),
      () => new Set(paths),
    );
    for (const { path, resolve, reject } of batch) {
      if (!left.has(path)) resolve();
      // Another way, which tells what is wrong, if it still is.
      else rm(path, { recursive: true, force: true }).then(resolve, reject);
    }
  }
  busy = false;
}
