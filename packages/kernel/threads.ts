/**
 * Threads that may call libraries: how they are started and ended, and that the process does not end in the midst of what
 * must not be interrupted (binding-gate.ts). Every thread of ours that uses this package is started here.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { setEnvironmentData, Worker, type WorkerOptions } from "node:worker_threads";
import { closeGate, GATE, makeGate, waitForGate } from "#kernel/binding-gate.ts";

/** ms between two looks whether a thread has come to where it may be ended: a binding takes microseconds. */
const PAUSE = 2;
/** ms that a thread's binding is waited for at most; only one that nothing runs any more gets there. */
const PATIENCE = 5000;

/** The gates of the threads there are. */
const gates = new Map<Worker, SharedArrayBuffer>();

/** As `new Worker`. */
export function startThread(source: URL, options: WorkerOptions = {}): Worker {
  const gate = makeGate();
  // A thread gets a copy of what is there when it begins.
  setEnvironmentData(GATE, gate);
  try {
    const worker = new Worker(source, options);
    if (gates.size === 0) process.once("exit", closeAll);
    gates.set(worker, gate);
    worker.once("exit", () => {
      gates.delete(worker);
      if (gates.size === 0) process.removeListener("exit", closeAll);
    });
    return worker;
  } finally {
    setEnvironmentData(GATE, undefined);
  }
}

/** Ends a thread wherever it is, as soon as it may be; resolves when it has ended. */
export async function endThread(worker: Worker): Promise<void> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const gate = gates.get(worker);
    if (gate === undefined || closeGate(gate) || performance.now() > end) break;
    await sleep(PAUSE);
  }
  await worker.terminate();
}

/** What Node does next takes all threads away. */
function closeAll(): void {
  for (const gate of gates.values()) closeGate(gate);
  for (const gate of gates.values()) waitForGate(gate, PATIENCE);
}
