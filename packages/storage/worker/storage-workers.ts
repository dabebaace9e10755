/**
 * What one part of the daemon has storage threads do: so many tasks at once, the others wait in a queue of their own. So a slow
 * client's archive holds up nobody who works on something else.
 *
 * Where tasks wait for their clients, one whose client takes or sends next to nothing (kernel/client-pace.ts) keeps its place
 * only as long as nobody else wants it.
 *
 * The threads are everybody's (worker-threads.ts) and these workers' own only while they do a task of theirs. A thread that
 * dies takes only its own task with it, which fails.
 */
import { BerthError } from "#errors/errors.ts";
import type { StorageTask } from "#storage/worker/worker-messages.ts";
import { type TaskHooks, takeThread, type WorkerThread } from "#storage/worker/worker-threads.ts";

export interface TaskOptions extends TaskHooks {
  signal?: AbortSignal | undefined;
}

interface Job extends PromiseWithResolvers<unknown> {
  task: StorageTask;
  /** As in TaskMessage. */
  abort: Int32Array<SharedArrayBuffer>;
  hooks: TaskHooks;
  /** Stopped because its client did nothing while others waited. */
  evicted: boolean;
}

/** Between two looks at those that hold up others, ms. */
const WATCH_MS = 1000;

export class StorageWorkers implements AsyncDisposable {
  readonly #limit: number;
  readonly #stall: number | undefined;
  readonly #queue: Job[] = [];
  readonly #working = new Map<WorkerThread, Job>();
  #watch: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * `atOnce`: how many tasks run at once. `stall`: after so many milliseconds of waiting for its client a task loses its place to
   * one that waits for that; undefined: never.
   */
  constructor(atOnce: number, stall?: number) {
    this.#limit = Math.max(1, atOnce);
    this.#stall = stall;
  }

  /** Runs a task; rejects with the worker's error, or an AbortError when the signal fires. */
  async run(task: StorageTask, { signal, ...hooks }: TaskOptions = {}): Promise<unknown> {
    if (this.#closed) {
      throw new BerthError("unavailable", "the storage workers are closed", { operation: task.kind });
    }
    signal?.throwIfAborted();
    const abort = new Int32Array(new SharedArrayBuffer(8));
    const job = { ...Promise.withResolvers<unknown>(), task, abort, hooks, evicted: false };
    const onAbort = () => {
      Atomics.store(job.abort, 0, 1);
      const waiting = this.#queue.indexOf(job);
      if (waiting < 0) return;
      this.#queue.splice(waiting, 1);
      job.reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#queue.push(job);
    this.#dispatch();
    try {
      return await job.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Ends the threads at work. Tasks that wait or run fail with "unavailable". */
  async close(): Promise<void> {
    this.#closed = true;
    const error = () =>
      new BerthError("unavailable", "the storage workers were closed", {
        operation: "close storage workers",
      });
    for (const job of this.#queue.splice(0)) job.reject(error());
    clearInterval(this.#watch);
    await Promise.all([...this.#working.keys()].map((thread) => thread.end(error())));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #dispatch(): void {
    while (this.#working.size < this.#limit) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      void this.#perform(job);
    }
    if (this.#queue.length > 0 && this.#stall !== undefined) {
      this.#watch ??= setInterval(() => this.#evict(), WATCH_MS).unref();
    }
  }

  /** Of those that have waited too long for their clients, stops as many as have others waiting for their places. */
  #evict(): void {
    if (this.#queue.length === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
      return;
    }
    const jobs = [...this.#working.values()];
    const leaving = jobs.filter(({ evicted }) => evicted).length;
    const waited = (job: Job) => Atomics.load(job.abort, 1);
    const stalled = jobs.filter((job) => !job.evicted && waited(job) >= (this.#stall ?? Infinity));
    stalled.sort((one, other) => waited(other) - waited(one));
    for (const job of stalled.slice(0, Math.max(0, this.#queue.length - leaving))) {
      job.evicted = true;
      Atomics.store(job.abort, 0, 1);
    }
  }

  async #perform(job: Job): Promise<void> {
    let thread: WorkerThread | undefined;
    try {
      // The kernel may have none to give.
      thread = takeThread();
      this.#working.set(thread, job);
      job.resolve(await thread.perform(job.task, job.abort.buffer, job.hooks));
    } catch (error) {
      job.reject(job.evicted ? this.#lostPlace(job) : error);
    } finally {
      if (thread !== undefined) this.#working.delete(thread);
    }
    this.#dispatch();
  }

  #lostPlace({ task }: Job): BerthError {
    const text = `the client took or sent next to nothing for ${(this.#stall ?? 0) / 1000} s, and others waited: ${this.#limit} at once`;
    return new BerthError("unavailable", text, { operation: task.kind });
  }
}
