/**
 * Things that end if nothing happens for a while, all after the same time: so the oldest is always the first. Pure but
 * for the clock that is given.
 */
export class Deadlines<T> {
  readonly #time: number;
  readonly #expire: (item: T) => void;
  readonly #items = new Map<T, number>();

  /** `time` in ms. `expire` is called for an item that is then no longer kept. */
  constructor(time: number, expire: (item: T) => void) {
    this.#time = time;
    this.#expire = expire;
  }

  /** The item's time begins, or begins anew. */
  begin(item: T, now: number): void {
    this.#items.delete(item);
    this.#items.set(item, now + this.#time);
  }

  end(item: T): void {
    this.#items.delete(item);
  }

  /** Ends whatever is due; answers how many ms the next one has, -1 if there is none. */
  run(now: number): number {
    for (;;) {
      const first = this.#items.entries().next().value;
      if (first === undefined) return -1;
      const [item, due] = first;
      if (due > now) return Math.ceil(due - now);
      this.#items.delete(item);
      this.#expire(item);
    }
  }
}
