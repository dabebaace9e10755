/**
 * A small pool of storage workers. Threads start when there is work and end after a while without, so that an idle
 * daemon carries none.
 *
 * Owns its threads. A thread that dies takes only its own task with it, which fails.
 */
import { Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import {
  type AnswerMessage,
  packError,
  type ReplyMessage,
  type StorageTask,
  type TaskMessage,
  unpackError,
} from "#storage/worker/worker-messages.ts";

/** Milliseconds a thread without work is kept. */
const idleTime = 5_000;

export interface TaskOptions {
  signal?: AbortSignal | undefined;
  /** `detail` is the task's own. */
  onProgress?: ((consumed: number, detail: unknown) => void) | undefined;
  /** Called when the task asks for what it needs; a rejection fails it. */
  onAsk?: (() => Promise<unknown>) | undefined;
}

interface Job {
  message: TaskMessage;
  options: TaskOptions;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
}

interface Thread {
  worker: Worker;
  job: Job | undefined;
  idleTimer: NodeJS.Timeout | undefined;
}

export class StorageWorkers implements AsyncDisposable {
  readonly #limit: number;
  readonly #threads = new Set<Thread>();
  readonly #queue: Job[] = [];
  #nextId = 1;
  #closed = false;

  /** `threads`: how many tasks run at once. */
  constructor(threads: number) {
    this.#limit = Math.max(1, threads);
  }

  /** Number of threads that exist now. */
  get threadCount(): number {
    return this.#threads.size;
  }

  /** Runs a task; rejects with the worker's error, or an AbortError when the signal fires. */
  async run(task: StorageTask, options: TaskOptions = {}): Promise<unknown> {
    if (this.#closed) {
      throw new BerthError("unavailable", "the storage workers are closed", { operation: task.kind });
    }
    options.signal?.throwIfAborted();
    return await new Promise((resolve, reject) => {
      const abort = new SharedArrayBuffer(4);
      const onAbort = () => {
        Atomics.store(new Int32Array(abort), 0, 1);
        const waiting = this.#queue.findIndex((job) => job.message.abort === abort);
        if (waiting >= 0) this.#queue.splice(waiting, 1)[0]?.reject(options.signal?.reason);
      };
      options.signal?.addEventListener("abort", onAbort, { once: true });
      const settled = () => options.signal?.removeEventListener("abort", onAbort);
      this.#queue.push({
        message: { id: this.#nextId++, task, abort },
        options,
        resolve: (result) => {
          settled();
          resolve(result);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      this.#dispatch();
    });
  }

  /** Stops the threads. Tasks that still wait or run fail with "unavailable". */
  async close(): Promise<void> {
    this.#closed = true;
    const error = () =>
      new BerthError("unavailable", "the storage workers were closed", {
        operation: "close storage workers",
      });
    for (const job of this.#queue.splice(0)) job.reject(error());
    await Promise.all(
      [...this.#threads].map(async (thread) => {
        thread.job?.reject(error());
        thread.job = undefined;
        clearTimeout(thread.idleTimer);
        await thread.worker.terminate();
      }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const thread = this.#freeThread();
      if (thread === undefined) return;
      const job = this.#queue.shift() as Job;
      thread.job = job;
      clearTimeout(thread.idleTimer);
      // A task under way keeps the process alive, an idle thread does not.
      thread.worker.ref();
      thread.worker.postMessage(job.message);
    }
  }

  #freeThread(): Thread | undefined {
    for (const thread of this.#threads) if (thread.job === undefined) return thread;
    return this.#threads.size < this.#limit ? this.#start() : undefined;
  }

  #start(): Thread {
    const worker = new Worker(new URL("./storage-worker.ts", import.meta.url), {
      name: "storage",
      // Options of the main thread (test runners, inspectors) are not for it.
      execArgv: [],
    });
    const thread: Thread = { worker, job: undefined, idleTimer: undefined };
    this.#threads.add(thread);
    worker.on("message", (reply: ReplyMessage) => this.#receive(thread, reply));
    worker.on("error", (error) => this.#lost(thread, error));
    worker.on("exit", () => this.#lost(thread, new Error("the storage worker ended unexpectedly")));
    return thread;
  }

  #receive(thread: Thread, reply: ReplyMessage): void {
    const job = thread.job;
    if (job === undefined || job.message.id !== reply.id) return;
    if (reply.kind === "progress") {
      job.options.onProgress?.(reply.consumed, reply.detail);
      return;
    }
    if (reply.kind === "ask") {
      void this.#answer(thread.worker, reply.id, job.options);
      return;
    }
    thread.job = undefined;
    if (reply.kind === "done") job.resolve(reply.result);
    else job.reject(unpackError(reply.error));
    this.#dispatch();
    if (thread.job === undefined) this.#rest(thread);
  }

  async #answer(worker: Worker, id: number, { onAsk }: TaskOptions): Promise<void> {
    let answer: AnswerMessage["answer"];
    try {
      answer = { value: await onAsk?.() };
    } catch (error) {
      answer = { error: packError(error) };
    }
    worker.postMessage({ id, answer } satisfies AnswerMessage);
  }

  #rest(thread: Thread): void {
    thread.worker.unref();
    thread.idleTimer = setTimeout(() => {
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, idleTime).unref();
  }

  #lost(thread: Thread, cause: unknown): void {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.idleTimer);
    const job = thread.job;
    thread.job = undefined;
    job?.reject(
      new BerthError("internal", "a storage worker failed", { operation: job.message.task.kind, cause }),
    );
    if (!this.#closed) this.#dispatch();
  }
}
