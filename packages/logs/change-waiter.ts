/** Sleeps until something in a log's directory may have changed, no more will be written, or nobody wants to know. */
import { type FSWatcher, watch } from "node:fs";

/** A missed notification costs at most this long, milliseconds. */
const LONGEST_SLEEP = 200;

export class ChangeWaiter implements Disposable {
  ended = false;
  readonly #signal: AbortSignal;
  readonly #directory: string;
  #watcher: FSWatcher | undefined;
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(directory: string, ended: Promise<void>, signal: AbortSignal) {
    this.#directory = directory;
    this.#signal = signal;
    signal.addEventListener("abort", this.#onChange);
    ended.then(() => {
      this.ended = true;
      this.#onChange();
    }, this.#onChange);
  }

  async wait(): Promise<void> {
    this.#watch();
    // Something may have happened since the caller last looked.
    if (!this.#changed && !this.ended && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LONGEST_SLEEP);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#changed = false;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#signal.removeEventListener("abort", this.#onChange);
  }

  #watch(): void {
    if (this.#watcher !== undefined) return;
    try {
      this.#watcher = watch(this.#directory, this.#onChange);
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch {
      // Not there yet, or no watches left: the longest sleep is how often it is looked at then.
    }
  }

  readonly #onChange = (): void => {
    this.#changed = true;
    this.#wake?.();
  };
}
