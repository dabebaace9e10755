/**
 * Starts under way at once, of containers and execs alike; others wait in line, so that a thousand asked for together
 * cost the daemon's other clients nothing: each start is a few milliseconds of its event loop.
 *
 * A place is kept until the process runs, and no longer than a moment: what waits for somebody else (a plugin, a frozen
 * group) must not hold up those who don't. Bounded by who asks: each waits on a connection of its own.
 */

/** More would not start anything sooner: they share the event loop, and the machine's processors. */
const AT_ONCE = 16;
/** How long one start may keep others waiting, ms. */
const KEPT_MS = 2000;

export class LaunchQueue {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(atOnce = AT_ONCE) {
    this.#free = atOnce;
  }

  /** Those in line. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Does `start` when there is a place for it; answers, or throws, what that does. */
  async run<T>(start: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let kept = true;
    const leave = () => {
      if (!kept) return;
      kept = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
    const timer = setTimeout(leave, KEPT_MS).unref();
    try {
      return await start();
    } finally {
      clearTimeout(timer);
      leave();
    }
  }
}
