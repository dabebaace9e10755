/**
 * Image layers: one directory of the storage driver per chain id, shared by all images that stand on it.
 *
 * A row precedes its directory and outlives it. A layer is "making" until an image that needs it is committed, so that a crash
 * at any moment leaves only rows that `start` undoes. Whoever works with layers holds them as a `LayerStack`; a layer that
 * no image, no other layer and no stack needs is removed at once.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { Database } from "#state/database.ts";
import type { LayerUnpacker, StorageDriver, UnpackResult } from "#storage/driver-types.ts";
import type { StagedLayer } from "#storage/staging/staging-types.ts";
import type { LayerTarget } from "#storage/unpack/layer-builder.ts";
import { chainIds, type Digest } from "./digest.ts";
import { diskError, isNoSpace } from "./disk-errors.ts";
import { type LayerRow, LayerRows } from "./layer-rows.ts";
import { LayerStack } from "./layer-stack.ts";
import { type JoinOptions, SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

/** Where the unpacker gets a layer's archive from; disposed when it is unpacked. */
export type ArchiveFile = { path: string } & Partial<AsyncDisposable>;

export type UnpackProgress = { phase: "extracting"; current: number; total: number } | { phase: "unpacked" };

/** Fills the directory of a new layer; what is in it is on the disk when it answers. */
export type FillLayer = (target: LayerTarget) => Promise<UnpackResult>;

/** A layer held by a stack, or being made. */
interface Live {
  cacheId: string;
  diffId: Digest;
  /** Chain id of the layer below. */
  parent: Digest | undefined;
  /** Settles when the driver has made the directory, and those of all layers below. */
  created: Promise<void> | undefined;
  holds: number;
  unpacked: boolean;
  /** An unpack failed here: the directory holds garbage. */
  dirty: boolean;
}

/** A layer that was taken out of the table; its directory is next. */
interface Doomed {
  chainId: Digest;
  cacheId: string;
  created: Promise<void> | undefined;
}

export interface LayerStoreOptions {
  database: Database;
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  log?: Logger;
}

export class LayerStore {
  readonly #rows: LayerRows;
  readonly #storage: StorageDriver;
  readonly #unpacker: LayerUnpacker;
  readonly #log: Logger;
  readonly #live = new Map<Digest, Live>();
  readonly #unpacks = new SharedWork<unknown, void>();
  readonly #slots = new Slots(Math.max(2, availableParallelism()));

  constructor({ database, storage, unpacker, log = silentLogger }: LayerStoreOptions) {
    this.#log = log;
    this.#rows = new LayerRows(database);
    this.#storage = storage;
    this.#unpacker = unpacker;
  }

  /** Undoes what a crash left half made, and what no image needs; finds layers whose directory somebody removed. */
  async start(): Promise<void> {
    this.#rows.unlinkAll();
    const gone = this.#rows.inState("removing");
    for (const { cache_id } of gone) await this.#erase(cache_id);
    if (gone.length > 0) this.#log.info("removed layers that no image needs", { layers: gone.length });
    await this.#findLost();
  }

  /** A lost layer costs only the images on it, and those until they are pulled or loaded again: it becomes one to be made. */
  async #findLost(): Promise<void> {
    for (const { cache_id, chain_id } of this.#rows.inState("complete")) {
      if (await this.#storage.exists(cache_id)) continue;
      this.#log.warn("the directory of a layer is gone; pull or load its image again", {
        layer: chain_id ?? "",
        directory: this.#storage.diffPath(cache_id),
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
    const held: Digest[] = [];
    try {
      this.#rows.transaction(() => {
        for (const [index, chainId] of chain.entries()) {
          const live =
            this.#live.get(chainId) ?? this.#begin(chainId, diffIds[index] ?? "", chain[index - 1]);
          live.holds++;
          held.push(chainId);
        }
      });
    } catch (error) {
      // Nothing was written, so nothing was begun.
      for (const chainId of held) {
        const live = this.#live.get(chainId);
        if (live !== undefined && --live.holds === 0) this.#live.delete(chainId);
      }
      throw diskError(error, "register layers of", chain.at(-1) ?? "");
    }
    for (const [index, chainId] of chain.entries()) this.#createDirectory(chainId, chain[index - 1]);
    return new LayerStack(this, chain);
  }

  /** Is this layer's content there? */
  isUnpacked(chainId: Digest): boolean {
    return this.#live.get(chainId)?.unpacked ?? this.row(chainId)?.state === "complete";
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
    const live = this.#live.get(chainId);
    if (live === undefined) throw new Error(`layer ${chainId} is made without being held`);
    if (live.unpacked) return;
    await this.#unpacks.join(
      chainId,
      async (tell, workSignal) => {
        const archive = await provide(tell, workSignal);
        try {
          await this.#unpack(live, archive.path, tell, workSignal);
        } finally {
          await archive[Symbol.asyncDispose]?.();
        }
      },
      { report: report as (progress: unknown) => void, signal },
    );
  }

  /**
   * Fills a held layer with what was staged; those below it are made already. If somebody else is at it, waits for them.
   * True if the stage was used: it is empty then.
   */
  async adopt(chainId: Digest, staged: StagedLayer, signal: AbortSignal | undefined): Promise<boolean> {
    const live = this.#live.get(chainId);
    if (live === undefined) throw new Error(`layer ${chainId} is adopted without being held`);
    if (live.unpacked) return false;
    if (staged.diffId !== live.diffId) throw wrongDiffId(live.diffId, staged.diffId);
    for (;;) {
      let used = false;
      const filling = this.#unpacks.join(
        chainId,
        async (_tell, workSignal) => {
          used = true;
          workSignal.throwIfAborted();
          await this.#adopt(live, staged);
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

  async #adopt(live: Live, { key, describesRoot, implied, size }: StagedLayer): Promise<void> {
    try {
      await live.created;
      live.dirty = true;
      await this.#storage.adopt?.(live.cacheId, key, { describesRoot });
      const [directory = "", ...lower] =
        implied.length === 0 ? [] : await this.#storage.layerDirectories(live.cacheId);
      if (implied.length > 0) await this.#unpacker.imply?.(directory, lower, implied);
      live.dirty = false;
      live.unpacked = true;
      this.#rows.setSize(live.cacheId, size);
    } catch (error) {
      throw registerError(error, live.diffId);
    }
  }

  /** Unpacks an archive whose diff id is not known before, as a lowest layer. Answers its held stack. */
  async makeUnknown(archive: string, options: JoinOptions<UnpackProgress>): Promise<LayerStack> {
    const cacheId = this.#rows.insert(null, null, null);
    try {
      await this.#storage.create(cacheId, undefined);
      const { diffId, size } = await this.#unpacker.unpack({
        source: archive,
        target: this.#storage.diffPath(cacheId),
        layout: this.#storage.layoutPath(cacheId),
        whiteouts: this.#storage.whiteouts,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      if (this.#live.has(diffId) || this.row(diffId) !== undefined) {
        const existing = this.hold([diffId]);
        if (existing.missing().length === 0) {
          await this.#erase(cacheId);
          return existing;
        }
        // Another client is at the same layer: wait for it, or finish it with what is here.
        try {
          await this.make(diffId, async () => ({ path: archive }), options);
        } catch (error) {
          await existing.release();
          throw error;
        }
        await this.#erase(cacheId);
        return existing;
      }
      this.#rows.identify(cacheId, diffId);
      this.#rows.setSize(cacheId, size);
      const created = Promise.resolve();
      const live = { cacheId, diffId, parent: undefined, created, holds: 0, unpacked: true, dirty: false };
      this.#live.set(diffId, live);
      return this.hold([diffId]);
    } catch (error) {
      await this.#erase(cacheId);
      throw diskError(error, "unpack layer", cacheId);
    }
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
    const cacheId = this.#rows.insert(null, null, null);
    try {
      const parent = below.top === null ? undefined : this.row(below.top)?.cache_id;
      await this.#storage.create(cacheId, parent);
      const { diffId, size } = await fill({
        target: this.#storage.diffPath(cacheId),
        layout: this.#storage.layoutPath(cacheId),
        whiteouts: this.#storage.whiteouts,
      });
      const all = diffId === nothing ? diffIds : [...diffIds, diffId];
      const chainId = chainIds(all).at(-1) ?? "";
      if (diffId === nothing || this.#live.has(chainId) || this.row(chainId) !== undefined) {
        const existing = this.hold(all);
        await this.#erase(cacheId);
        // Somebody else is fetching these very bytes, for the first time.
        await this.#unpacks.settled(chainId);
        if (existing.missing().length === 0) return Object.assign(existing, { diffId });
        await existing.release();
        throw new BerthError("conflict", `layer ${diffId} is being fetched`, {
          operation: "make layer",
          object: diffId,
          hint: "Try again.",
        });
      }
      this.#rows.identify(cacheId, diffId, chainId, below.top);
      this.#rows.setSize(cacheId, size);
      const created = Promise.resolve();
      const live = {
        cacheId,
        diffId,
        parent: below.top ?? undefined,
        created,
        holds: 0,
        unpacked: true,
        dirty: false,
      };
      this.#live.set(chainId, live);
      return Object.assign(this.hold(all), { diffId });
    } catch (error) {
      await this.#erase(cacheId);
      throw diskError(error, "make layer", cacheId);
    }
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
    const waits: Promise<void>[] = [];
    for (const chainId of chain) {
      const live = this.#live.get(chainId);
      if (live !== undefined && --live.holds === 0) waits.push(this.#unpacks.settled(chainId));
    }
    await Promise.all(waits);
    const doomed = await this.#unlink(chain);
    for (const { cacheId, created } of doomed) {
      await created?.catch(() => {}); // a directory that could not be made is removed like any other
      await this.#erase(cacheId);
    }
    return doomed.map(({ chainId }) => chainId);
  }

  /** Takes what is held no more and not needed out of the table. What a full disk forbids is left to `collectGarbage`. */
  async #unlink(chain: readonly Digest[]): Promise<Doomed[]> {
    try {
      return this.#tryUnlink(chain);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
    }
    // What was never complete is garbage whatever its row says: it makes the room to say so.
    await Promise.all(chain.map((chainId) => this.#emptyUnfinished(chainId)));
    try {
      return this.#tryUnlink(chain);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      this.#log.warn(
        "no space to write down that layers are not needed; prune, or the next start, removes them",
      );
      for (const chainId of chain) if (this.#live.get(chainId)?.holds === 0) this.#live.delete(chainId);
      return [];
    }
  }

  #tryUnlink(chain: readonly Digest[]): Doomed[] {
    const free = chain.toReversed().filter((chainId) => (this.#live.get(chainId)?.holds ?? 0) === 0);
    const doomed = this.#rows.removal(() => {
      const unlinked: Doomed[] = [];
      for (const chainId of free) {
        const cacheId = this.#rows.unlink(chainId);
        if (cacheId === undefined) continue;
        unlinked.push({ chainId, cacheId, created: this.#live.get(chainId)?.created });
      }
      return unlinked;
    });
    for (const chainId of free) this.#live.delete(chainId);
    return doomed;
  }

  async #emptyUnfinished(chainId: Digest): Promise<void> {
    const live = this.#live.get(chainId);
    if (live === undefined || live.holds > 0 || this.row(chainId)?.state !== "making") return;
    live.unpacked = false;
    live.dirty = true;
    const directory = this.#storage.diffPath(live.cacheId);
    // Whoever begins with it again meanwhile waits for this.
    live.created = (live.created ?? Promise.resolve()).then(() => empty(directory));
    await live.created.catch(() => {}); // a directory that was never made takes no space
  }

  /**
   * Removes what nobody holds and no image needs: a release that could not finish, on a full disk for one, left it. What
   * has no identity yet is somebody's work. Answers the bytes.
   */
  async collectGarbage(): Promise<number> {
    const doomed = this.#rows.inState("removing").map(({ cache_id }) => cache_id);
    let bytes = 0;
    for (;;) {
      const unneeded = this.#rows.unneeded().filter((chainId) => !this.#live.get(chainId)?.holds);
      if (unneeded.length === 0) break;
      const sizes = unneeded.map((chainId) => this.row(chainId)?.size ?? 0);
      const unlinked = this.#rows.removal(() => unneeded.map((chainId) => this.#rows.unlink(chainId)));
      doomed.push(...unlinked.filter((cacheId) => cacheId !== undefined));
      bytes += sizes.reduce((sum, size) => sum + size, 0);
      for (const chainId of unneeded) this.#live.delete(chainId);
    }
    for (const cacheId of doomed) await this.#erase(cacheId);
    return bytes;
  }

  async #erase(cacheId: string): Promise<void> {
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

  #begin(chainId: Digest, diffId: Digest, parent: Digest | undefined): Live {
    const row = this.row(chainId);
    const whole = row?.state === "complete";
    const live: Live = {
      cacheId: row?.cache_id ?? this.#rows.insert(chainId, diffId, parent ?? null),
      diffId,
      parent,
      created: whole ? Promise.resolve() : undefined,
      holds: 0,
      unpacked: whole,
      // A row that is there but not whole lost its directory, or has one that was filled half.
      dirty: row !== undefined && !whole,
    };
    this.#live.set(chainId, live);
    return live;
  }

  #createDirectory(chainId: Digest, parent: Digest | undefined): void {
    const live = this.#live.get(chainId);
    if (live === undefined || live.created !== undefined) return;
    // Begins as all of the one below: not before that is whole.
    if (this.#storage.whiteouts === "apply") return;
    const below = parent === undefined ? undefined : this.#live.get(parent);
    // A turn of the event loop each: there may be more than a hundred.
    live.created = (below?.created ?? Promise.resolve())
      .then(() => turn())
      .then(() => this.#storage.create(live.cacheId, below?.cacheId));
    live.created.catch(() => {}); // whoever makes the layer awaits it again
  }

  /** Waits for the layer below, which whoever wants this one is making as well. */
  async #untilWhole(chainId: Digest | undefined, signal: AbortSignal): Promise<void> {
    if (chainId === undefined || this.isUnpacked(chainId)) return;
    await unlessAborted(this.#unpacks.settled(chainId), signal);
    if (this.isUnpacked(chainId)) return;
    throw new BerthError("internal", `the layer below, ${chainId}, could not be made`, {
      operation: "unpack layer",
      object: chainId,
    });
  }

  /** A fresh directory, with all of the layer below in it. */
  async #createOnWhole(live: Live): Promise<void> {
    if (live.dirty) await this.#storage.remove(live.cacheId);
    const below = live.parent === undefined ? undefined : this.row(live.parent)?.cache_id;
    live.created = this.#storage.create(live.cacheId, below);
    live.created.catch(() => {}); // awaited below, and by whoever removes the layer
    await live.created;
  }

  async #unpack(
    live: Live,
    source: string,
    tell: (progress: UnpackProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const apply = this.#storage.whiteouts === "apply";
    // Before it takes a slot, which the one below may need.
    if (apply) await this.#untilWhole(live.parent, signal);
    using _slot = await this.#slots.take(signal);
    try {
      if (apply) await this.#createOnWhole(live);
      await live.created;
      const target = this.#storage.diffPath(live.cacheId);
      if (live.dirty && !apply) await empty(target);
      live.dirty = true;
      const total = (await stat(source)).size;
      tell({ phase: "extracting", current: 0, total });
      const { diffId, size } = await this.#unpacker.unpack({
        source,
        target,
        layout: this.#storage.layoutPath(live.cacheId),
        whiteouts: this.#storage.whiteouts,
        expectedDiffId: live.diffId,
        onProgress: (consumed) => tell({ phase: "extracting", current: consumed, total }),
        signal,
      });
      if (diffId !== live.diffId) throw wrongDiffId(live.diffId, diffId);
      live.dirty = false;
      live.unpacked = true;
      this.#rows.setSize(live.cacheId, size);
      tell({ phase: "unpacked" });
    } catch (error) {
      // Give the space back before anything else has to be written.
      if (isNoSpace(error)) await empty(this.#storage.diffPath(live.cacheId)).catch(() => {}); // removed later anyway
      signal.throwIfAborted();
      throw registerError(error, live.diffId);
    }
  }
}

/** Resolves with `promise`; throws the signal's reason if it fires first. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
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

function wrongDiffId(expected: Digest, actual: Digest): BerthError {
  return new BerthError("invalid", `layer has diff id ${actual}, its image says ${expected}`, {
    operation: "unpack layer",
    object: expected,
  });
}

async function empty(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    await rm(join(directory, name), { recursive: true, force: true });
  }
}
