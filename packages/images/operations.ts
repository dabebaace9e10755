/**
 * Work that must not outlive the daemon: counted while it runs, cancelled and awaited when the daemon stops.
 */
import { BerthError } from "#errors/errors.ts";

export class Operations {
  readonly #running = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();

  /** Fires when the client gives up (`signal`) or the daemon stops. */
  signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  /** Counts work until it ends; answers (or throws) what it does. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Cancels all work, and waits for its end. */
  async stop(): Promise<void> {
    this.#stop.abort(
      new BerthError("unavailable", "the daemon is shutting down", { operation: "image operation" }),
    );
    await Promise.allSettled(this.#running);
  }
}
