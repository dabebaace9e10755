/** What random operations on files are made of: numbers that follow from a seed, names that come up again, bytes. */

/** Bytes that files grow to at most. */
export const LONGEST = 300_000;

/** Few, so that operations meet. One is as long as names can be, one is longer. */
const names = [
  "a",
  "b",
  "c",
  "d",
  "e",
  "f",
  "g",
  "long name with spaces",
  "ünï",
  ".hidden",
  "longest".repeat(40).slice(0, 255),
] as const;
const tooLong = "n".repeat(256);

/** A text with names in it, for people. */
export function shortened(text: string): string {
  return text.replaceAll(names.at(-1) as string, "<longest>").replaceAll(tooLong, "<too long>");
}

export class RandomChoice {
  #state: number;
  /** Paths made lately. */
  readonly #known: string[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number below `limit`; a linear congruential step, mixed. */
  below(limit: number): number {
    if (limit === 0) return 0;
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b) >>> 0;
    mixed ^= mixed >>> 15;
    return (mixed >>> 0) % limit;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  name(): string {
    return this.below(200) === 0 ? tooLong : this.of(names);
  }

  /** Often one that is, or was, there, or in it. */
  path(): string {
    const known = this.#known[this.below(Math.ceil(this.#known.length * 1.3))];
    if (known === undefined) return this.#anyPath();
    return this.below(3) === 0 ? `${known}/${this.name()}` : known;
  }

  remember(path: string): void {
    if (this.#known.includes(path)) return;
    this.#known.push(path);
    if (this.#known.length > 300) this.#known.shift();
  }

  forget(path: string): void {
    const at = this.#known.indexOf(path);
    if (at >= 0) this.#known.splice(at, 1);
  }

  #anyPath(): string {
    const depth = this.of([1, 1, 2, 2, 2, 3, 3, 4]);
    return Array.from({ length: depth }, () => this.name()).join("/");
  }

  data(length: number): Buffer {
    const data = Buffer.alloc(length);
    const seed = this.below(256);
    for (let at = 0; at < length; at++) data[at] = (seed + at * 7 + (at >> 8)) & 0xff;
    return data;
  }
}
