/**
 * Brings what images were unpacked to onto the disk, before a row says that it is there.
 *
 * The kernel tells a failure to write once, to whoever flushes first; here everybody hears of it whose work was open then.
 * An early flush lets the disk begin while there is more to come, so that the last one has little left.
 */
export interface OpenWork {
  /** Begins to write what is there so far; a failure shows in `flush`. */
  flushSoon(): void;
  /** All that was written since this work was opened is on the disk, or it throws. */
  flush(): Promise<void>;
}

export class DiskFlush {
  readonly #sync: () => Promise<void>;
  readonly #failures: unknown[] = [];
  #early: Promise<unknown> | undefined;

  /** `sync` flushes the file system. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  open(): OpenWork {
    const known = this.#failures.length;
    return {
      flushSoon: () => {
        this.#early ??= this.#run().finally(() => {
          this.#early = undefined;
        });
      },
      flush: async () => {
        await this.#early;
        await this.#run();
        if (this.#failures.length > known) throw this.#failures[known];
      },
    };
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    try {
      await this.#sync();
    } catch (error) {
      this.#failures.push(error);
    }
  }
}
