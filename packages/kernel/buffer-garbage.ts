/**
 * Keeps a thread that streams through ever new buffers from growing.
 *
 * Node reads a connection, and inflates, into new memory each time, and V8 lets more than 50 MiB of it become garbage in
 * every thread before it collects any. A young collection costs such a thread a fraction of a millisecond; it is done for every few
 * MiB. Without Node's --expose-gc, which the daemon is started with (scripts/launch.sh), nothing happens here.
 */

/** Bytes of garbage that a thread may hold. */
const limit = 2 << 20;

/** Of this thread, since the last collection. */
let garbage = 0;

/** Says that so many bytes of buffers are done with. Not for the event loop, nor for buffers that are used again. */
export function discarded(bytes: number): void {
  garbage += bytes;
  if (garbage < limit) return;
  garbage = 0;
  globalThis.gc?.({ type: "minor", execution: "sync" });
}
