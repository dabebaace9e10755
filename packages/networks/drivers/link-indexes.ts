/**
 * Interface numbers for veth pairs, chosen by us so that messages can be written before the pair exists. One block of
 * them, at random and free of what is there, is used round and round; the numbers the kernel gives out itself are low.
 */
import { randomInt } from "node:crypto";
import type { Link } from "#kernel/netlink/link-messages.ts";

const blockSize = 1 << 16;

export class LinkIndexes {
  readonly #base: number;
  #next = 0;

  constructor(present: readonly Pick<Link, "index">[]) {
    const taken = new Set(present.map((link) => Math.floor(link.index / blockSize)));
    let block: number;
    do block = randomInt(256, 1 << 14);
    while (taken.has(block));
    this.#base = block * blockSize;
  }

  next(): number {
    return this.#base + (this.#next++ % blockSize);
  }
}
