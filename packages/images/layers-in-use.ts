/**
 * The layers that somebody works with at the moment, counted, and how far each has come.
 *
 * In memory only: after a restart nobody holds anything. Whoever begins to hold a layer that has no row writes that row here.
 * Touches no directory.
 */
import type { Digest } from "./digest.ts";
import { diskError } from "./disk-errors.ts";
import type { LayerRows } from "./layer-rows.ts";

export interface LayerInUse {
  readonly cacheId: string;
  readonly diffId: Digest;
  /** Chain id of the layer below. */
  readonly parent: Digest | undefined;
  /** Settles when the driver has made the directory, and those of all layers below. */
  created: Promise<void> | undefined;
  unpacked: boolean;
  /** The directory may hold garbage: an unpack failed here, or a crash cut one short. */
  dirty: boolean;
}

type Counted = LayerInUse & { holds: number };

export class LayersInUse {
  readonly #rows: LayerRows;
  /** By chain id. A layer stays here without holds while it is taken out of the table. */
  readonly #layers = new Map<Digest, Counted>();

  constructor(rows: LayerRows) {
    this.#rows = rows;
  }

  get(chainId: Digest): LayerInUse | undefined {
    return this.#layers.get(chainId);
  }

  /** Of a layer that its caller holds. */
  demand(chainId: Digest): LayerInUse {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw new Error(`layer ${chainId} is made without being held`);
    return layer;
  }

  isHeld(chainId: Digest): boolean {
    return (this.#layers.get(chainId)?.holds ?? 0) > 0;
  }

  /** Is this layer's content there? */
  isUnpacked(chainId: Digest): boolean {
    return this.#layers.get(chainId)?.unpacked ?? this.#rows.row(chainId)?.state === "complete";
  }

  /** Holds all layers of a chain, lowest first, once more; those without a row get one. All or nothing. */
  hold(chain: readonly Digest[], diffIds: readonly Digest[]): void {
    const held: Digest[] = [];
    try {
      this.#rows.transaction(() => {
        for (const [index, chainId] of chain.entries()) {
          const layer =
            this.#layers.get(chainId) ?? this.#begin(chainId, diffIds[index] ?? "", chain[index - 1]);
          layer.holds++;
          held.push(chainId);
        }
      });
    } catch (error) {
      // Nothing was written, so nothing was begun.
      for (const chainId of this.letGo(held)) this.forget(chainId);
      throw diskError(error, "register layers of", chain.at(-1) ?? "");
    }
  }

  #begin(chainId: Digest, diffId: Digest, parent: Digest | undefined): Counted {
    const row = this.#rows.row(chainId);
    const whole = row?.state === "complete";
    const layer: Counted = {
      cacheId: row?.cache_id ?? this.#rows.insert(chainId, diffId, parent ?? null),
      diffId,
      parent,
      created: whole ? Promise.resolve() : undefined,
      holds: 0,
      unpacked: whole,
      // A row that is there but not whole lost its directory, or has one that was filled half.
      dirty: row !== undefined && !whole,
    };
    this.#layers.set(chainId, layer);
    return layer;
  }

  /** Knows a layer, whole already, that has only now got its chain id. Nobody holds it yet. */
  add(chainId: Digest, layer: Pick<LayerInUse, "cacheId" | "diffId" | "parent">): void {
    const whole = { created: Promise.resolve(), unpacked: true, dirty: false };
    this.#layers.set(chainId, { ...layer, ...whole, holds: 0 });
  }

  /** Takes one hold of each. Answers those that nobody holds any more; they are known until `forget`. */
  letGo(chain: readonly Digest[]): Digest[] {
    return chain.filter((chainId) => {
      const layer = this.#layers.get(chainId);
      return layer !== undefined && --layer.holds === 0;
    });
  }

  forget(chainId: Digest): void {
    this.#layers.delete(chainId);
  }
}
