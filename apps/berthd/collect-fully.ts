/**
 * A full collection of this thread's heap that gives memory back to the system, in pieces: V8 marks beside the event loop and in steps of
 * a millisecond, and only the end of it is in one piece.
 *
 * gc() can do that only as a whole, tens of milliseconds, and keeps the pages it has emptied. So V8 is told for a moment that
 * memory is what counts, and that it is time for its own incremental collection; a young one makes it look, and begin. Nothing
 * happens without Node's --expose-gc, or where V8 knows these flags no more.
 */
import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { trimMalloc } from "#kernel/trim-malloc.ts";

/** What a collection has of these is decided when it begins; then they have their defaults again. */
const BEGIN = ["--optimize-for-size", "--stress-incremental-marking"];
const BEGUN = ["--no-optimize-for-size", "--no-stress-incremental-marking"];

/** How long one may take; on the busiest machine it is a tenth, ms. */
const PATIENCE_MS = 2000;
/** The first frees objects and empties pages, the second gives those back. */
const ROUNDS = 2;

/** Resolves when it is done; begins nothing more once `quiet` says no. Never two at a time. */
export async function collectFully(quiet: () => boolean): Promise<void> {
  const collect = globalThis.gc;
  if (collect === undefined) return;
  for (let round = 0; round < ROUNDS && quiet(); round++) {
    const { promise, stop } = nextFullCollection();
    try {
      for (const flag of BEGIN) setFlagsFromString(flag);
      collect({ type: "minor", execution: "sync" });
      for (const flag of BEGUN) setFlagsFromString(flag);
      if (!(await promise)) break;
    } finally {
      stop();
    }
  }
  if (quiet()) await trimMalloc();
}

/** Of the next one: its end, or false if none comes. */
function nextFullCollection(): { promise: Promise<boolean>; stop: () => void } {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isFull)) resolve(true);
  });
  observer.observe({ entryTypes: ["gc"] });
  const timer = setTimeout(() => resolve(false), PATIENCE_MS).unref();
  return {
    promise,
    stop: () => {
      observer.disconnect();
      clearTimeout(timer);
    },
  };
}

function isFull(entry: PerformanceEntry & { detail?: unknown }): boolean {
  const { kind } = entry.detail as { kind: number };
  return kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}
