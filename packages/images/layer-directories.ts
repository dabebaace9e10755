/**
 * The directories of image layers in the storage driver: made, filled from an archive or a stage, emptied, removed.
 *
 * A directory is filled by one at a time; whose turn it is, is not decided here. A filled one keeps its size in its row, and
 * a removed one takes its row along.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import type { LayerUnpacker, StorageDriver, UnpackResult } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import type { StagedLayer } from "#storage/staging/staging-types.ts";
import type { LayerTarget } from "#storage/unpack/layer-builder.ts";
import type { Digest } from "./digest.ts";
import { diskError, isNoSpace } from "./disk-errors.ts";
import type { LayerRows } from "./layer-rows.ts";
import type { LayerInUse } from "./layers-in-use.ts";
import { Slots } from "./slots.ts";

export type UnpackProgress = { phase: "extracting"; current: number; total: number } | { phase: "unpacked" };

/** Fills the directory of a new layer; what is in it is on the disk when it answers. */
export type FillLayer = (target: LayerTarget) => Promise<UnpackResult>;

export class LayerDirectories {
  readonly #storage: StorageDriver;
  readonly #unpacker: LayerUnpacker;
  readonly #rows: LayerRows;
  readonly #slots = new Slots(Math.max(2, availableParallelism()));

  constructor(storage: StorageDriver, unpacker: LayerUnpacker, rows: LayerRows) {
    this.#storage = storage;
    this.#unpacker = unpacker;
    this.#rows = rows;
  }

  /** Does a layer begin as all of the one below? Then that has to be whole before it is made. */
  get needWholeParent(): boolean {
    return this.#storage.whiteouts === "apply";
  }

  exists(cacheId: string): Promise<boolean> {
    return this.#storage.exists(cacheId);
  }

  /** Where a layer's content is or was. */
  path(cacheId: string): string {
    return this.#storage.diffPath(cacheId);
  }

  /** Begins to make the directory of a held layer, if that is not begun; after the one below. */
  begin(layer: LayerInUse, below: LayerInUse | undefined): void {
    if (layer.created !== undefined || this.needWholeParent) return;
    // A turn of the event loop each: there may be more than a hundred.
    layer.created = (below?.created ?? Promise.resolve())
      .then(() => turn())
      .then(() => this.#storage.create(layer.cacheId, below?.cacheId));
    layer.created.catch(() => {}); // whoever makes the layer awaits it again
  }

  /** Unpacks an archive into a held layer; those below are whole if they have to be. Throws BerthError. */
  async unpack(
    layer: LayerInUse,
    source: string,
    tell: (progress: UnpackProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    using _slot = await this.#slots.take(signal);
    try {
      if (this.needWholeParent) await this.#createOnWhole(layer);
      await layer.created;
      if (layer.dirty && !this.needWholeParent) await this.empty(layer.cacheId);
      layer.dirty = true;
      const total = (await stat(source)).size;
      tell({ phase: "extracting", current: 0, total });
      const { diffId, size } = await this.#fill(layer.cacheId, (target) =>
        this.#unpacker.unpack({
          source,
          ...target,
          expectedDiffId: layer.diffId,
          onProgress: (consumed) => tell({ phase: "extracting", current: consumed, total }),
          signal,
        }),
      );
      if (diffId !== layer.diffId) throw wrongDiffId(layer.diffId, diffId);
      layer.dirty = false;
      layer.unpacked = true;
      this.#rows.setSize(layer.cacheId, size);
      tell({ phase: "unpacked" });
    } catch (error) {
      // Give the space back before anything else has to be written.
      if (isNoSpace(error)) await this.empty(layer.cacheId).catch(() => {}); // removed later anyway
      signal.throwIfAborted();
      throw registerError(error, layer.diffId);
    }
  }

  /** A fresh directory, with all of the layer below in it. */
  async #createOnWhole(layer: LayerInUse): Promise<void> {
    if (layer.dirty) await this.#storage.remove(layer.cacheId);
    layer.created = this.#storage.create(layer.cacheId, this.#cacheIdOf(layer.parent));
    layer.created.catch(() => {}); // awaited below, and by whoever removes the layer
    await layer.created;
  }

  #cacheIdOf(chainId: Digest | null | undefined): string | undefined {
    return chainId == null ? undefined : this.#rows.row(chainId)?.cache_id;
  }

  /** Moves what was staged into a held layer; those below are whole. The stage is empty then. Throws BerthError. */
  async adopt(layer: LayerInUse, { key, describesRoot, implied, size }: StagedLayer): Promise<void> {
    try {
      await layer.created;
      layer.dirty = true;
      await this.#storage.adopt?.(layer.cacheId, key, { describesRoot });
      const [directory = "", ...lower] =
        implied.length === 0 ? [] : await this.#storage.layerDirectories(layer.cacheId);
      const { whiteouts } = this.#storage;
      const view = { directories: lower, whiteouts };
      if (implied.length > 0) await this.#unpacker.imply?.(directory, view, implied);
      layer.dirty = false;
      layer.unpacked = true;
      this.#rows.setSize(layer.cacheId, size);
    } catch (error) {
      throw registerError(error, layer.diffId);
    }
  }

  /** Makes and fills the directory of a layer whose identity is only known then. `below`: chain id. */
  async createUnknown(cacheId: string, below: Digest | null, fill: FillLayer): Promise<UnpackResult> {
    await this.#storage.create(cacheId, this.#cacheIdOf(below));
    return await this.#fill(cacheId, fill);
  }

  /** The layer's directory is within reach meanwhile. */
  async #fill(cacheId: string, fill: FillLayer): Promise<UnpackResult> {
    await using _held = await holdLayers(this.#storage, "content", cacheId);
    return await fill({
      target: this.#storage.diffPath(cacheId),
      layout: this.#storage.layoutPath(cacheId),
      whiteouts: this.#storage.whiteouts,
    });
  }

  async empty(cacheId: string): Promise<void> {
    await using _held = await holdLayers(this.#storage, "content", cacheId);
    const directory = this.#storage.diffPath(cacheId);
    for (const name of await readdir(directory)) {
      await rm(join(directory, name), { recursive: true, force: true });
    }
  }

  /** Removes the directory, then the row. */
  async erase(cacheId: string): Promise<void> {
    await this.#storage.remove(cacheId);
    try {
      this.#rows.delete(cacheId);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      // There is room once what was removed is gone.
      await this.#storage.settled();
      this.#rows.delete(cacheId);
    }
  }
}

/** Docker begins every failure to unpack with these words. */
function registerError(error: unknown, diffId: Digest): BerthError {
  const wrapped = diskError(error, "unpack layer", diffId);
  return new BerthError(wrapped.code, `failed to register layer: ${wrapped.message}`, {
    operation: "unpack layer",
    object: diffId,
    ...(wrapped.hint === undefined ? {} : { hint: wrapped.hint }),
    cause: error,
  });
}

export function wrongDiffId(expected: Digest, actual: Digest): BerthError {
  return new BerthError("invalid", `layer has diff id ${actual}, its image says ${expected}`, {
    operation: "unpack layer",
    object: expected,
  });
}
