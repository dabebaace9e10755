/**
 * What one part of the daemon has storage threads do: so many tasks at once, the others wait in a queue of their own. So a slow
 * client's archive holds up nobody who works on something else.
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
  /** One Int32, set to 1 to stop it. */
  abort: SharedArrayBuffer;
  hooks: TaskHooks;
}

export class StorageWorkers implements AsyncDisposable {
  readonly #limit: number;
  readonly #queue: Job[] = [];
  readonly #working = new Set<WorkerThread>();
  #closed = false;

  /** `atOnce`: how many tasks run at once. */
  constructor(atOnce: number) {
    this.#limit = Math.max(1, atOnce);
  }

  /** Runs a task; rejects with the worker's error, or an AbortError when the signal fires. */
  async run(task: StorageTask, { signal, ...hooks }: TaskOptions = {}): Promise<unknown> {
    if (this.#closed) {
      throw new BerthError("unavailable", "the storage workers are closed", { operation: task.kind });
    }
    signal?.throwIfAborted();
    const job = { ...Promise.withResolvers<unknown>(), task, abort: new SharedArrayBuffer(4), hooks };
    const onAbort = () => {
      Atomics.store(new Int32Array(job.abort), 0, 1);
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
    await Promise.all([...this.#working].map((thread) => thread.end(error())));
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
  }

  async #perform(job: Job): Promise<void> {
    const thread = takeThread();
    this.#working.add(thread);
    try {
      job.resolve(await thread.perform(job.task, job.abort, job.hooks));
    } catch (error) {
      job.reject(error);
    } finally {
      this.#working.delete(thread);
    }
    this.#dispatch();
  }
}
