/**
 * The storage threads of this process, shared by all StorageWorkers.
 *
 * A thread does one task at a time: it is its taker's from `takeThread` on until that task is settled, and then comes back here by
 * itself. One that rests is taken before another is started, which takes 50 ms; resting threads end after a while. How
 * many work at once is for their takers to bound.
 */
import type { Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import { endThread, startThread } from "#kernel/threads.ts";
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

/** What a task tells and asks while it runs. */
export interface TaskHooks {
  /** `detail` is the task's own. */
  onProgress?: ((consumed: number, detail: unknown) => void) | undefined;
  /** Called when the task asks for what it needs; a rejection fails it. */
  onAsk?: (() => Promise<unknown>) | undefined;
}

interface Job extends PromiseWithResolvers<unknown> {
  id: number;
  task: StorageTask;
  hooks: TaskHooks;
}

/** All there are, and of those the ones without work; who came last goes first. */
const threads = new Set<WorkerThread>();
const resting: WorkerThread[] = [];
/** One is kept however long it rests. */
let keepsOne = false;
let nextId = 1;

/** A thread for one task. */
export function takeThread(): WorkerThread {
  return resting.pop() ?? new WorkerThread();
}

/** From now on the first task after a quiet time finds a thread ready. For a daemon: it takes some 12 MiB. */
export function keepThreadReady(): void {
  keepsOne = true;
  if (threads.size === 0) rest(new WorkerThread());
}

/** Threads that exist now, at work or resting. */
export function threadCount(): number {
  return threads.size;
}

/**
 * For a quiet moment: threads without work end before their time, and the one that is kept collects what it has left in memory.
 * Resolves when they have; never rejects.
 */
export async function tidyThreads(): Promise<void> {
  await Promise.all(
    resting.slice(keepsOne ? 1 : 0).map((thread) => {
      leave(thread);
      return thread.end(new Error("the thread was idle"));
    }),
  );
  const kept = keepsOne ? resting.pop() : undefined;
  await kept?.perform({ kind: "collect" }, new SharedArrayBuffer(8), {}).catch(() => undefined);
}

function rest(thread: WorkerThread): void {
  resting.push(thread);
  thread.rest(() => {
    if (keepsOne && resting.length === 1) return;
    leave(thread);
    void thread.end(new Error("the thread was idle"));
  });
}

function leave(thread: WorkerThread): void {
  threads.delete(thread);
  const index = resting.indexOf(thread);
  if (index >= 0) resting.splice(index, 1);
}

export class WorkerThread {
  readonly #worker: Worker;
  #job: Job | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor() {
    this.#worker = startThread(new URL("./storage-worker.ts", import.meta.url), {
      name: "storage",
      // Options of the main thread (test runners, inspectors) are not for it.
      execArgv: [],
    });
    threads.add(this);
    this.#worker.on("message", (reply: ReplyMessage) => this.#receive(reply));
    this.#worker.on("error", (error) => this.#lost(error));
    this.#worker.on("exit", () => this.#lost(new Error("the storage worker ended unexpectedly")));
  }

  /**
   * Does a task, once; then the thread is somebody else's. `abort`: as in TaskMessage. Rejects with the task's
   * error, "internal" where the thread dies of it.
   */
  perform(task: StorageTask, abort: SharedArrayBuffer, hooks: TaskHooks): Promise<unknown> {
    clearTimeout(this.#idleTimer);
    // A task under way keeps the process alive, an idle thread does not.
    this.#worker.ref();
    const job = { ...Promise.withResolvers<unknown>(), id: nextId++, task, hooks };
    this.#job = job;
    this.#worker.postMessage({ id: job.id, task, abort } satisfies TaskMessage);
    return job.promise;
  }

  /** Waits for the next task; `onIdle` is called when none has come for a while. */
  rest(onIdle: () => void): void {
    this.#worker.unref();
    this.#idleTimer = setTimeout(onIdle, idleTime).unref();
  }

  /** Ends the thread; its task, if it has one, fails with `reason`. */
  async end(reason: Error): Promise<void> {
    this.#fail(reason);
    await endThread(this.#worker);
  }

  #receive(reply: ReplyMessage): void {
    const job = this.#job;
    if (job?.id !== reply.id) return;
    if (reply.kind === "progress") {
      job.hooks.onProgress?.(reply.consumed, reply.detail);
      return;
    }
    if (reply.kind === "ask") {
      void this.#answer(job);
      return;
    }
    this.#job = undefined;
    rest(this);
    if (reply.kind === "done") job.resolve(reply.result);
    else job.reject(unpackError(reply.error));
  }

  async #answer({ id, hooks }: Job): Promise<void> {
    let answer: AnswerMessage["answer"];
    try {
      answer = { value: await hooks.onAsk?.() };
    } catch (error) {
      answer = { error: packError(error) };
    }
    this.#worker.postMessage({ id, answer } satisfies AnswerMessage);
  }

  #lost(cause: unknown): void {
    const operation = this.#job?.task.kind ?? "";
    this.#fail(new BerthError("internal", "a storage worker failed", { operation, cause }));
  }

  #fail(reason: Error): void {
    clearTimeout(this.#idleTimer);
    leave(this);
    this.#job?.reject(reason);
    this.#job = undefined;
  }
}
