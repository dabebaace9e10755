/**
 * The layers of one image, held while it is pulled, loaded or removed.
 *
 * While a stack is held none of its layers is removed. Disposing lets go; layers that no image refers to then vanish.
 */
import type { Digest } from "./digest.ts";
import type { LayerStore } from "./layer-store.ts";

export class LayerStack implements AsyncDisposable {
  /** Chain ids, lowest first. */
  readonly chain: readonly Digest[];
  readonly #store: LayerStore;
  #held = true;

  constructor(store: LayerStore, chain: readonly Digest[]) {
    this.#store = store;
    this.chain = chain;
  }

  get top(): Digest | null {
    return this.chain.at(-1) ?? null;
  }

  /** Positions of layers whose content is not there yet. */
  missing(): number[] {
    return [...this.chain.keys()].filter((index) => !this.#store.isUnpacked(this.chain[index] ?? ""));
  }

  /** Bytes, unpacked. */
  size(): number {
    return this.chain.reduce((sum, chainId) => sum + (this.#store.row(chainId)?.size ?? 0), 0);
  }

  async release(): Promise<Digest[]> {
    if (!this.#held) return [];
    this.#held = false;
    return this.#store.release(this.chain);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}
