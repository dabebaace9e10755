/** Waiting for what is true soon: the daemon does part of its work behind its answers. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Milliseconds between two looks, and until it is no longer soon: rules that are taken away again and again are put back
 * after a minute, and a busy machine takes its time for that.
 */
const PAUSE = 100;
const PATIENCE = 180_000;

/** Looks until nothing is wrong, and answers what was wrong at last. */
export async function wrongForLong(look: () => Promise<string[]>, patience = PATIENCE): Promise<string[]> {
  const end = performance.now() + patience;
  for (;;) {
    const wrong = await look();
    if (wrong.length === 0 || performance.now() > end) return wrong;
    await sleep(PAUSE);
  }
}
