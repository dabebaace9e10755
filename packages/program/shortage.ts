/**
 * Waiting for what the kernel is short of for the moment. Only for what must not fail for that: who holds a container's
 * output back until somebody is connected, and who tells of its end, wait for the daemon as long as it is there.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** No descriptor, no memory, no room in a queue, no thread (Node's name for a worker that has none). */
const SHORTAGES = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN", "ERR_WORKER_INIT_FAILED"]);

/** Milliseconds between two tries. */
const PAUSE_MS = 100;

/** Does it again until it fails for another reason than a shortage, or doesn't. */
export async function throughShortage<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isShortage(error)) throw error;
    }
    await sleep(PAUSE_MS);
  }
}

/** Of itself, or because of what it was caused by. */
function isShortage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ("code" in error && SHORTAGES.has(String(error.code))) || isShortage(error.cause);
}
