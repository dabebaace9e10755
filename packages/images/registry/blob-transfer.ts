/**
 * The event loop's side of the blob threads: sends them requests, hears their progress, ends them when they have been idle.
 *
 * Transfers are spread over a few threads, as many as there are cores. An idle daemon has none.
 */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import { endThread, startThread } from "#kernel/threads.ts";
import type { BlobRequest, BlobResult, FromBlobWorker, SendRequest, ToBlobWorker } from "./blob-messages.ts";

/** A thread costs some 10 MB; pulls come in bursts. */
const idleLimitMs = 15_000;

interface Pending {
  resolve: (result: BlobResult) => void;
  reject: (error: unknown) => void;
  onProgress: ((current: number, verifying: boolean) => void) | undefined;
}

/** A message before it has an id. */
type Unnumbered<Message> = Message extends unknown ? Omit<Message, "id"> : never;

interface Thread {
  worker: Worker;
  pending: Map<number, Pending>;
  idle: NodeJS.Timeout | undefined;
}

export class BlobTransfer {
  readonly #threads = new Set<Thread>();
  readonly #limit: number;
  #nextId = 1;

  /** `threads`: at most so many; sending compresses, which takes a core each. */
  constructor(threads: number = Math.max(2, availableParallelism())) {
    this.#limit = threads;
  }

  /** One attempt. Never throws for what a registry or a disk does: that is in the result. */
  receive(
    request: BlobRequest,
    onProgress: (received: number, verifying: boolean) => void,
    signal: AbortSignal,
  ): Promise<BlobResult> {
    return this.#ask({ kind: "receive", request }, onProgress, signal);
  }

  /** One attempt at sending a layer; `onProgress` tells bytes of the archive, uncompressed. Throws as little as `receive`. */
  send(request: SendRequest, onProgress: (sent: number) => void, signal: AbortSignal): Promise<BlobResult> {
    return this.#ask({ kind: "send", request }, onProgress, signal);
  }

  /** Flushes the file system holding `path`; returns when it is on the disk. */
  async sync(path: string): Promise<void> {
    const result = await this.#ask({ kind: "sync", path });
    if (result.outcome !== "disk") return;
    throw new BerthError("internal", `cannot flush ${path}: ${result.message}`, {
      operation: "flush file system",
      object: path,
    });
  }

  async close(): Promise<void> {
    const threads = [...this.#threads];
    this.#threads.clear();
    for (const thread of threads) {
      clearTimeout(thread.idle);
      await endThread(thread.worker);
      failAll(thread, new Error("stopping"));
    }
  }

  async #ask(
    message: Unnumbered<ToBlobWorker>,
    onProgress?: Pending["onProgress"],
    signal?: AbortSignal,
  ): Promise<BlobResult> {
    if (signal?.aborted === true) return { outcome: "cancelled" };
    const id = this.#nextId++;
    const thread = this.#leastBusy();
    const { promise, resolve, reject } = Promise.withResolvers<BlobResult>();
    thread.pending.set(id, { resolve, reject, onProgress });
    const cancel = () => thread.worker.postMessage({ kind: "cancel", id } satisfies ToBlobWorker);
    signal?.addEventListener("abort", cancel, { once: true });
    thread.worker.postMessage({ ...message, id });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", cancel);
      thread.pending.delete(id);
      if (thread.pending.size === 0) this.#restAfterAWhile(thread);
    }
  }

  /** A thread without work, a new one, or the one with the least. */
  #leastBusy(): Thread {
    let best: Thread | undefined;
    for (const thread of this.#threads) {
      if (best === undefined || thread.pending.size < best.pending.size) best = thread;
    }
    if (best === undefined || (best.pending.size > 0 && this.#threads.size < this.#limit))
      best = this.#start();
    clearTimeout(best.idle);
    best.worker.ref();
    return best;
  }

  #start(): Thread {
    const worker = startThread(new URL("./blob-worker.ts", import.meta.url), { name: "blobs" });
    const thread: Thread = { worker, pending: new Map(), idle: undefined };
    worker.on("message", (message: FromBlobWorker) => {
      const pending = thread.pending.get(message.id);
      if (message.kind === "done") pending?.resolve(message.result);
      else pending?.onProgress?.(message.current, message.verifying);
    });
    worker.on("error", (error) => {
      this.#threads.delete(thread);
      failAll(thread, error);
    });
    this.#threads.add(thread);
    return thread;
  }

  #restAfterAWhile(thread: Thread): void {
    clearTimeout(thread.idle);
    thread.idle = setTimeout(() => {
      this.#threads.delete(thread);
      void endThread(thread.worker);
    }, idleLimitMs);
    thread.idle.unref();
    // Between pulls the threads must not keep a stopping process alive.
    thread.worker.unref();
  }
}

function failAll(thread: Thread, cause: unknown): void {
  const error = new BerthError("internal", `the transfer of blobs ended: ${String(cause)}`, {
    operation: "transfer layer",
    cause,
  });
  for (const { reject } of thread.pending.values()) reject(error);
  thread.pending.clear();
}
