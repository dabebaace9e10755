/**
 * A number of places; who finds none free waits in line.
 */
export class Slots {
  #count: number;
  /** Below 0 while there are fewer places than were given. */
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#count = count;
    this.#free = count;
  }

  /** Other numbers from now on; whoever has a place keeps it. */
  resize(count: number): void {
    this.#free += count - this.#count;
    this.#count = count;
    while (this.#free > 0 && this.#waiting.length > 0) {
      this.#free--;
      this.#waiting.shift()?.();
    }
  }

  /** Is somebody who comes now going to wait? */
  get full(): boolean {
    return this.#free <= 0;
  }

  /** Waits for a place; dispose gives it back. Throws the signal's reason where the wait is given up. */
  async take(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
    } else {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const giveUp = () => {
        const index = this.#waiting.indexOf(resolve);
        if (index === -1) return; // the place was given in the same moment
        this.#waiting.splice(index, 1);
        reject(signal?.reason);
      };
      this.#waiting.push(resolve);
      signal?.addEventListener("abort", giveUp, { once: true });
      try {
        await promise;
      } finally {
        signal?.removeEventListener("abort", giveUp);
      }
    }
    let taken = true;
    return {
      [Symbol.dispose]: () => {
        if (!taken) return;
        taken = false;
        const next = this.#free < 0 ? undefined : this.#waiting.shift();
        if (next === undefined) this.#free++;
        else next();
      },
    };
  }
}
