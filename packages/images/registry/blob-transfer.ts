/**
 * The event loop's side of the blob thread: sends it requests, hears its progress, ends it when it has been idle.
 *
 * One thread serves all transfers: the network is slower than one core hashes. An idle daemon has none.
 */
import { Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import type { BlobRequest, BlobResult, FromBlobWorker, ToBlobWorker } from "./blob-messages.ts";

/** A thread costs some 10 MB; pulls come in bursts. */
const idleLimitMs = 15_000;

interface Pending {
  resolve: (result: BlobResult) => void;
  reject: (error: unknown) => void;
  onProgress: ((received: number, verifying: boolean) => void) | undefined;
}

/** A message before it has an id. */
type Unnumbered<Message> = Message extends unknown ? Omit<Message, "id"> : never;

export class BlobTransfer {
  #worker: Worker | undefined;
  #nextId = 1;
  #idle: NodeJS.Timeout | undefined;
  readonly #pending = new Map<number, Pending>();

  /** One attempt. Never throws for what a registry or a disk does: that is in the result. */
  receive(
    request: BlobRequest,
    onProgress: (received: number, verifying: boolean) => void,
    signal: AbortSignal,
  ): Promise<BlobResult> {
    return this.#ask({ kind: "receive", request }, onProgress, signal);
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
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
    this.#failAll(new Error("stopping"));
  }

  async #ask(
    message: Unnumbered<ToBlobWorker>,
    onProgress?: Pending["onProgress"],
    signal?: AbortSignal,
  ): Promise<BlobResult> {
    if (signal?.aborted === true) return { outcome: "cancelled" };
    const id = this.#nextId++;
    const worker = this.#running();
    const { promise, resolve, reject } = Promise.withResolvers<BlobResult>();
    this.#pending.set(id, { resolve, reject, onProgress });
    const cancel = () => worker.postMessage({ kind: "cancel", id } satisfies ToBlobWorker);
    signal?.addEventListener("abort", cancel, { once: true });
    worker.postMessage({ ...message, id });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#restAfterAWhile();
    }
  }

  #running(): Worker {
    clearTimeout(this.#idle);
    this.#worker?.ref();
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./blob-worker.ts", import.meta.url), { name: "blobs" });
    worker.on("message", (message: FromBlobWorker) => {
      const pending = this.#pending.get(message.id);
      if (message.kind === "done") pending?.resolve(message.result);
      else pending?.onProgress?.(message.received, message.verifying);
    });
    worker.on("error", (error) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#failAll(error);
    });
    this.#worker = worker;
    return worker;
  }

  #restAfterAWhile(): void {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#idle = setTimeout(() => {
      if (this.#worker === worker) this.#worker = undefined;
      void worker?.terminate();
    }, idleLimitMs);
    this.#idle.unref();
    // Between pulls the thread must not keep a stopping process alive.
    worker?.unref();
  }

  #failAll(cause: unknown): void {
    const error = new BerthError("internal", `the transfer of blobs ended: ${String(cause)}`, {
      operation: "download layer",
      cause,
    });
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
