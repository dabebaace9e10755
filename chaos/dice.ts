/** What a seed decides. */
import { seededRandom } from "#test/chaos/known-images.ts";

export class Dice {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }

  /** True in one of so many cases. */
  oneIn(cases: number): boolean {
    return this.between(1, cases) === 1;
  }

  /** Undefined of nothing. */
  pick<T>(items: readonly T[]): T | undefined {
    return items[this.between(0, items.length - 1)];
  }

  /** By weight: [what, how often]. */
  weighted<T>(choices: readonly (readonly [T, number])[]): T {
    let at = this.#random() * choices.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [choice, weight] of choices) {
      at -= weight;
      if (at < 0) return choice;
    }
    return (choices.at(-1) as readonly [T, number])[0];
  }
}
