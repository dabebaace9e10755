/**
 * The two sides of one word that a thread shares with whoever started it: a thread is not ended while it binds functions of a
 * library.
 *
 * koffi aborts the process where V8 takes the thread away in the midst of that (its errors can then not be thrown); calls of
 * what is bound are left alone. So a thread counts itself in and out around each piece of such work, and one that is to
 * end begins no further one. Costs two atomic additions a binding, and nothing later.
 */
import { getEnvironmentData, isMainThread } from "node:worker_threads";

/** Under this name a thread finds the word in its environment's data. */
export const GATE = "berth.binding";
/** Of the word; the bits below count the bindings under way. */
const CLOSED = 1 << 30;

/** Makes a word, as memory that can be shared. */
export function makeGate(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** Its thread begins no binding any more. Answers whether none is under way. */
export function closeGate(memory: SharedArrayBuffer): boolean {
  const word = new Int32Array(memory);
  return (Atomics.or(word, 0, CLOSED) & ~CLOSED) === 0;
}

/** Blocks until a closed gate has nobody behind it, so many milliseconds at most. */
export function waitForGate(memory: SharedArrayBuffer, patience: number): void {
  const word = new Int32Array(memory);
  const end = performance.now() + patience;
  for (let value = Atomics.load(word, 0); value !== CLOSED; value = Atomics.load(word, 0)) {
    const left = end - performance.now();
    if (left <= 0 || Atomics.wait(word, 0, value, left) === "timed-out") return;
  }
}

const memory = isMainThread ? undefined : getEnvironmentData(GATE);
const own = memory instanceof SharedArrayBuffer ? new Int32Array(memory) : undefined;

/** Does what must not be interrupted by this thread's end; never returns in a thread that is about to be ended. */
export function binding<T>(work: () => T): T {
  if (own === undefined) return work();
  if ((Atomics.add(own, 0, 1) & CLOSED) !== 0) {
    leave(own);
    // Nobody wakes it: it is ended here.
    for (const forever = new Int32Array(makeGate()); ; ) Atomics.wait(forever, 0, 0);
  }
  try {
    return work();
  } finally {
    leave(own);
  }
}

function leave(word: Int32Array<SharedArrayBuffer>): void {
  Atomics.sub(word, 0, 1);
  Atomics.notify(word, 0);
}
