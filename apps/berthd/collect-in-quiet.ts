/**
 * Collects what requests have left behind in memory once nobody waits. V8 by itself does so when its young generation is
 * nearly full, which is in the middle of every second start: a millisecond somebody waits for; and old objects it leaves until
 * there are many times as many as live ones.
 *
 * After a moment without a request the young ones; after seconds in which the daemon had nothing to do, once, all of them
 * (collect-fully.ts). With nothing to do there is no timer.
 *
 * Nothing happens without Node's --expose-gc, which the daemon is started with (scripts/launch.sh).
 */
import { getHeapSpaceStatistics } from "node:v8";
import { tidyThreads } from "#storage/worker/worker-threads.ts";
import { collectFully } from "./collect-fully.ts";

/** Milliseconds without a request before young objects go, and before all do. */
export const YOUNG_MS = 60;
export const FULL_MS = 3000;
/** Share of the time at work, between the two, beyond which it is not quiet: an image is pulled, a container restarts. */
const BUSY = 0.1;
/** Bytes that are worth it: of young objects, and of old ones that have come since the last full collection. */
export const YOUNG_WORTH = 512 * 1024;
export const OLD_WORTH = 1024 * 1024;

/** What the policy sees and does; a test has its own. */
export interface Heap {
  /** Bytes in use. */
  young(): number;
  old(): number;
  collectYoung(): void;
  /** Goes on as long as `quiet` says so. */
  collectFully(quiet: () => boolean): Promise<unknown>;
  /** Share of the time since the last call in which the event loop worked. */
  busy(): number;
}

/** Begins at once, and anew with each `refresh`, also after its end. */
export type Timer = (action: () => void, ms: number) => { refresh(): void };

const ownTimer: Timer = (action, ms) => setTimeout(action, ms).unref();

/** The answer is to be called after every request; costs next to nothing. */
export function collectInQuiet(heap: Heap | undefined = ownHeap(), timer: Timer = ownTimer): () => void {
  if (heap === undefined) return () => undefined;
  /** Old objects in use after the last full collection. */
  let left = 0;
  let collecting = false;
  /** There was a request a moment ago. */
  let recent = false;
  const collectAll = async () => {
    collecting = true;
    try {
      await heap.collectFully(() => !recent);
      left = heap.old();
    } catch {
      // Nobody waits for it, and V8 collects by itself.
    } finally {
      collecting = false;
    }
  };
  const full = timer(() => {
    if (collecting || recent) return;
    if (heap.busy() > BUSY) full.refresh();
    else if (heap.old() - left >= OLD_WORTH) void collectAll();
  }, FULL_MS);
  const young = timer(() => {
    recent = false;
    if (heap.young() >= YOUNG_WORTH) heap.collectYoung();
    heap.busy();
    full.refresh();
  }, YOUNG_MS);
  return () => {
    recent = true;
    young.refresh();
  };
}

/** This thread's, if it may be collected. */
function ownHeap(): Heap | undefined {
  const collect = globalThis.gc;
  if (collect === undefined) return undefined;
  const used = (...names: string[]) =>
    getHeapSpaceStatistics()
      .filter(({ space_name }) => names.includes(space_name))
      .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
  let since = performance.eventLoopUtilization();
  return {
    young: () => used("new_space"),
    old: () => used("old_space", "large_object_space"),
    collectYoung: () => collect({ type: "minor", execution: "sync" }),
    collectFully: async (quiet) => {
      // What they leave behind goes with the rest.
      await tidyThreads();
      await collectFully(quiet);
    },
    busy: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, since);
      since = now;
      return utilization;
    },
  };
}
