/**
 * Image layers: one directory of the storage driver per chain id, shared by all images that stand on it.
 *
 * A row (`layer-rows.ts`) precedes its directory (`layer-directories.ts`) and outlives it. A layer is "making" until an image
 * that needs it is committed, so that a crash at any moment leaves only rows that `start` undoes. Whoever works with layers
 * holds them (`layers-in-use.ts`) as a `LayerStack`; a layer that no image, no other layer and no stack needs is removed at once
 * (`layer-removal.ts`). Work that several want on one layer is done once, here.
 */
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { Database } from "#state/database.ts";
import type { LayerUnpacker, StorageDriver, UnpackResult } from "#storage/driver-types.ts";
import type { StagedLayer } from "#storage/staging/staging-types.ts";
import { chainIds, type Digest } from "./digest.ts";
import { diskError } from "./disk-errors.ts";
import { type FillLayer, LayerDirectories, type UnpackProgress, wrongDiffId } from "./layer-directories.ts";
import { LayerRemoval } from "./layer-removal.ts";
import { type LayerRow, LayerRows } from "./layer-rows.ts";
import { LayerStack } from "./layer-stack.ts";
import { LayersInUse } from "./layers-in-use.ts";
import { type JoinOptions, SharedWork } from "./shared-work.ts";

/** Where the unpacker gets a layer's archive from; disposed when it is unpacked. */
export type ArchiveFile = { path: string } & Partial<AsyncDisposable>;

export interface LayerStoreOptions {
  database: Database;
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  log?: Logger;
}

export class LayerStore {
  readonly #rows: LayerRows;
  readonly #inUse: LayersInUse;
  readonly #directories: LayerDirectories;
  readonly #removal: LayerRemoval;
  readonly #unpacker: LayerUnpacker;
  readonly #log: Logger;
  /** Layers that are being filled, by chain id. */
  readonly #filling = new SharedWork<unknown, void>();

  constructor({ database, storage, unpacker, log = silentLogger }: LayerStoreOptions) {
    this.#log = log;
    this.#unpacker = unpacker;
    this.#rows = new LayerRows(database);
    this.#inUse = new LayersInUse(this.#rows);
    this.#directories = new LayerDirectories(storage, unpacker, this.#rows);
    this.#removal = new LayerRemoval(this.#rows, this.#inUse, this.#directories, log);
  }

  /** Undoes what a crash left half made, and what no image needs; finds layers whose directory somebody removed. */
  async start(): Promise<void> {
    await this.#removal.clearUp();
    await this.#findLost();
  }

  /** A lost layer costs only the images on it, and those until they are pulled or loaded again: it becomes one to be made. */
  async #findLost(): Promise<void> {
    for (const { cache_id, chain_id } of this.#rows.inState("complete")) {
      if (await this.#directories.exists(cache_id)) continue;
      this.#log.warn("the directory of a layer is gone; pull or load its image again", {
        layer: chain_id ?? "",
        directory: this.#directories.path(cache_id),
      });
      this.#rows.setState(cache_id, "making");
    }
  }

  /** Cache ids of all rows: what the storage driver must not take for litter. */
  cacheIds(): Set<string> {
    return this.#rows.cacheIds();
  }

  row(chainId: Digest): LayerRow | undefined {
    return this.#rows.row(chainId);
  }

  /** The rows from `top` down to the lowest, lowest first. */
  chainOf(top: Digest | null): LayerRow[] {
    return this.#rows.chainOf(top);
  }

  /** Bytes by chain id of all complete layers. */
  sizes(): Map<Digest, number> {
    return this.#rows.sizes();
  }

  /** Holds the layers with these diff ids, lowest first; those not there yet are begun and wait for `make`. */
  hold(diffIds: readonly Digest[]): LayerStack {
    const chain = chainIds(diffIds);
    this.#inUse.hold(chain, diffIds);
    for (const [index, chainId] of chain.entries()) {
      this.#directories.begin(this.#inUse.demand(chainId), this.#inUse.get(chain[index - 1] ?? ""));
    }
    return new LayerStack(this, chain);
  }

  /** Is this layer's content there? */
  isUnpacked(chainId: Digest): boolean {
    return this.#inUse.isUnpacked(chainId);
  }

  /**
   * Fills a held layer: gets its archive by `provide` and unpacks it, or joins those who are at it. The progress of both
   * reaches every joiner. Throws BerthError.
   */
  async make<Progress>(
    chainId: Digest,
    provide: (report: (progress: Progress) => void, signal: AbortSignal) => Promise<ArchiveFile>,
    { report, signal }: JoinOptions<Progress | UnpackProgress>,
  ): Promise<void> {
    const layer = this.#inUse.demand(chainId);
    if (layer.unpacked) return;
    await this.#filling.join(
      chainId,
      async (tell, workSignal) => {
        // Who was at it before may have finished after everybody had given up.
        if (layer.unpacked) return;
        const archive = await provide(tell, workSignal);
        try {
          // Before it takes one of the unpacker's places, which the layer below may need.
          if (this.#directories.needWholeParent) await this.#untilWhole(layer.parent, workSignal);
          await this.#directories.unpack(layer, archive.path, tell, workSignal);
        } finally {
          await archive[Symbol.asyncDispose]?.();
        }
      },
      { report: report as (progress: unknown) => void, signal },
    );
  }

  /** Waits for the layer below, which whoever wants this one is making as well. */
  async #untilWhole(chainId: Digest | undefined, signal: AbortSignal): Promise<void> {
    if (chainId === undefined || this.isUnpacked(chainId)) return;
    await this.#filling.settled(chainId, signal);
    if (this.isUnpacked(chainId)) return;
    throw new BerthError("internal", `the layer below, ${chainId}, could not be made`, {
      operation: "unpack layer",
      object: chainId,
    });
  }

  /**
   * Fills a held layer with what was staged; those below it are made already. If somebody else is at it, waits for them.
   * True if the stage was used: it is empty then.
   */
  async adopt(chainId: Digest, staged: StagedLayer, signal: AbortSignal | undefined): Promise<boolean> {
    const layer = this.#inUse.demand(chainId);
    if (layer.unpacked) return false;
    if (staged.diffId !== layer.diffId) throw wrongDiffId(layer.diffId, staged.diffId);
    for (;;) {
      let used = false;
      const filling = this.#filling.join(
        chainId,
        async (_tell, workSignal) => {
          if (layer.unpacked) return;
          used = true;
          workSignal.throwIfAborted();
          await this.#directories.adopt(layer, staged);
        },
        { report: () => {}, signal },
      );
      try {
        await filling;
        return used;
      } catch (error) {
        // Somebody else's failure is none of ours: what they could not get is here.
        if (used || signal?.aborted === true) throw error;
      }
    }
  }

  /** Unpacks an archive whose diff id is not known before, as a lowest layer. Answers its held stack. */
  async makeUnknown(archive: string, options: JoinOptions<UnpackProgress>): Promise<LayerStack> {
    const { signal } = options;
    const unpack: FillLayer = (target) =>
      this.#unpacker.unpack({ source: archive, ...target, ...(signal === undefined ? {} : { signal }) });
    return await this.#identifying("unpack layer", null, unpack, async (cacheId, filled) => {
      const { diffId } = filled;
      if (!this.#isKnown(diffId)) return this.#identify(cacheId, filled, [diffId]);
      const existing = this.hold([diffId]);
      try {
        // Another client may be at the same layer: wait for it, or finish it with what is here.
        if (existing.missing().length > 0) await this.make(diffId, async () => ({ path: archive }), options);
        await this.#directories.erase(cacheId);
        return existing;
      } catch (error) {
        await existing.release();
        throw error;
      }
    });
  }

  /**
   * Makes a layer on a held stack with these diff ids; what it holds is only known when `fill` has put it into the
   * directory it is given. Answers the whole stack, held; without a new layer if that would be `nothing`.
   */
  async makeOn(
    below: LayerStack,
    diffIds: readonly Digest[],
    fill: FillLayer,
    nothing: Digest,
  ): Promise<LayerStack & { diffId: Digest }> {
    return await this.#identifying("make layer", below.top, fill, async (cacheId, filled) => {
      const { diffId } = filled;
      const all = diffId === nothing ? diffIds : [...diffIds, diffId];
      const chainId = chainIds(all).at(-1) ?? "";
      if (diffId !== nothing && !this.#isKnown(chainId)) {
        return Object.assign(this.#identify(cacheId, filled, all), { diffId });
      }
      const existing = this.hold(all);
      try {
        await this.#directories.erase(cacheId);
        // Somebody else is fetching these very bytes, for the first time.
        await this.#filling.settled(chainId);
        if (existing.missing().length === 0) return Object.assign(existing, { diffId });
        throw new BerthError("conflict", `layer ${diffId} is being fetched`, {
          operation: "make layer",
          object: diffId,
          hint: "Try again.",
        });
      } catch (error) {
        await existing.release();
        throw error;
      }
    });
  }

  /** Fills a directory before anybody knows which layer it will be; `settle` finds that out. A failure leaves nothing of it. */
  async #identifying<Result>(
    operation: string,
    below: Digest | null,
    fill: FillLayer,
    settle: (cacheId: string, filled: UnpackResult) => Promise<Result>,
  ): Promise<Result> {
    const cacheId = this.#rows.insert(null, null, null);
    try {
      return await settle(cacheId, await this.#directories.createUnknown(cacheId, below, fill));
    } catch (error) {
      await this.#discard(cacheId);
      throw diskError(error, operation, cacheId);
    }
  }

  /** Removes the directory of what becomes no layer. Never rejects: its caller has a failure of its own to tell. */
  async #discard(cacheId: string): Promise<void> {
    try {
      await this.#directories.erase(cacheId);
    } catch (error) {
      const directory = this.#directories.path(cacheId);
      this.#log.warn("what became no layer stays; prune, or the next start, removes it", {
        directory,
        error,
      });
      try {
        this.#rows.takeOut(cacheId);
      } catch {
        // A full disk: only the next start finds it then.
      }
    }
  }

  #isKnown(chainId: Digest): boolean {
    return this.#inUse.get(chainId) !== undefined || this.row(chainId) !== undefined;
  }

  /** A filled directory becomes the topmost of the layers with these diff ids, which are held then. */
  #identify(cacheId: string, { diffId, size }: UnpackResult, diffIds: readonly Digest[]): LayerStack {
    const [chainId = "", parent] = chainIds(diffIds).toReversed();
    this.#rows.identify(cacheId, diffId, chainId, parent ?? null);
    this.#rows.setSize(cacheId, size);
    this.#inUse.add(chainId, { cacheId, diffId, parent });
    return this.hold(diffIds);
  }

  /** Marks a stack's layers complete; inside the durable transaction that writes the image. */
  complete(chain: readonly Digest[]): void {
    for (const chainId of chain) {
      const row = this.row(chainId);
      if (row === undefined || !this.isUnpacked(chainId)) {
        throw new Error(`layer ${chainId} is committed before it is made`);
      }
      this.#rows.setState(row.cache_id, "complete");
    }
  }

  /** Lets go of a stack; removes, topmost first, what nothing needs any more. Answers the chain ids removed. */
  async release(chain: readonly Digest[]): Promise<Digest[]> {
    await Promise.all(this.#inUse.letGo(chain).map((chainId) => this.#filling.settled(chainId)));
    return await this.#removal.removeUnneeded(chain);
  }

  /** Removes what releases could not, on a full disk for one. Answers the bytes. */
  async collectGarbage(): Promise<number> {
    return await this.#removal.collectGarbage();
  }
}
