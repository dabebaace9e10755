/**
 * Image layers: one directory of the storage driver per chain id, shared by all images that stand on it.
 *
 * A row precedes its directory and outlives it. A layer is "making" until an image that needs it is committed, so that a crash
 * at any moment leaves only rows that `start` undoes. Whoever works with layers holds them as a `LayerStack`; a layer that
 * no image, no other layer and no stack needs is removed at once.
 */
import { randomBytes } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { Database } from "#state/database.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { chainIds, type Digest } from "./digest.ts";
import { diskError, isNoSpace } from "./disk-errors.ts";
import { LayerStack } from "./layer-stack.ts";
import { type JoinOptions, SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

export interface LayerRow {
  cache_id: string;
  chain_id: Digest | null;
  diff_id: Digest | null;
  parent: Digest | null;
  size: number;
  state: "making" | "complete" | "removing";
}

/** Where the unpacker gets a layer's archive from; disposed when it is unpacked. */
export type ArchiveFile = { path: string } & Partial<AsyncDisposable>;

export type UnpackProgress = { phase: "extracting"; current: number; total: number } | { phase: "unpacked" };

/** A layer held by a stack, or being made. */
interface Live {
  cacheId: string;
  diffId: Digest;
  /** Settles when the driver has made the directory, and those of all layers below. */
  created: Promise<void> | undefined;
  holds: number;
  unpacked: boolean;
  /** An unpack failed here: the directory holds garbage. */
  dirty: boolean;
  size: number;
}

export interface LayerStoreOptions {
  database: Database;
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  log?: Logger;
}

export class LayerStore {
  readonly #database: Database;
  readonly #storage: StorageDriver;
  readonly #unpacker: LayerUnpacker;
  readonly #log: Logger;
  readonly #live = new Map<Digest, Live>();
  readonly #unpacks = new SharedWork<unknown, void>();
  readonly #slots = new Slots(Math.max(2, availableParallelism()));

  constructor({ database, storage, unpacker, log = silentLogger }: LayerStoreOptions) {
    this.#log = log;
    this.#database = database;
    this.#storage = storage;
    this.#unpacker = unpacker;
  }

  /** Undoes what a crash left half made, and what no image needs; finds layers whose directory somebody removed. */
  async start(): Promise<void> {
    this.#database.transaction(() => {
      // Topmost first: a row cannot lose its chain id while another one stands on it.
      let undone: number;
      do {
        undone = this.#database.run(
          `UPDATE image_layer SET state = 'removing', chain_id = NULL, parent = NULL
           WHERE state <> 'removing'
             AND NOT EXISTS (SELECT 1 FROM image_layer AS above WHERE above.parent = image_layer.chain_id)
             AND NOT EXISTS (SELECT 1 FROM image WHERE top_chain = image_layer.chain_id)`,
        );
      } while (undone > 0);
    });
    const gone = this.#database.all<{ cache_id: string }>(
      "SELECT cache_id FROM image_layer WHERE state = 'removing'",
    );
    for (const { cache_id } of gone) await this.#erase(cache_id);
    if (gone.length > 0) this.#log.info("removed layers that no image needs", { layers: gone.length });
    await this.#findLost();
  }

  /** A lost layer costs only the images on it, and those until they are pulled or loaded again: it becomes one to be made. */
  async #findLost(): Promise<void> {
    const complete = this.#database.all<LayerRow>("SELECT * FROM image_layer WHERE state = 'complete'");
    for (const { cache_id, chain_id } of complete) {
      if (await this.#storage.exists(cache_id)) continue;
      this.#log.warn("the directory of a layer is gone; pull or load its image again", {
        layer: chain_id ?? "",
        directory: this.#storage.diffPath(cache_id),
      });
      this.#database.run("UPDATE image_layer SET state = 'making' WHERE cache_id = ?", cache_id);
    }
  }

  /** Cache ids of all rows: what the storage driver must not take for litter. */
  cacheIds(): Set<string> {
    return new Set(
      this.#database.all<{ cache_id: string }>("SELECT cache_id FROM image_layer").map((row) => row.cache_id),
    );
  }

  row(chainId: Digest): LayerRow | undefined {
    return this.#database.get<LayerRow>("SELECT * FROM image_layer WHERE chain_id = ?", chainId);
  }

  /** Bytes of all layers, each counted once. */
  totalSize(): number {
    return (
      this.#database.get<{ total: number | null }>("SELECT sum(size) AS total FROM image_layer")?.total ?? 0
    );
  }

  /** The rows from `top` down to the lowest, lowest first. */
  chainOf(top: Digest | null): LayerRow[] {
    const rows: LayerRow[] = [];
    for (let at = top; at !== null; ) {
      const row = this.row(at);
      if (row === undefined) break;
      rows.unshift(row);
      at = row.parent;
    }
    return rows;
  }

  /** Holds the layers with these diff ids, lowest first; those not there yet are begun and wait for `make`. */
  hold(diffIds: readonly Digest[]): LayerStack {
    const chain = chainIds(diffIds);
    const held: Digest[] = [];
    try {
      this.#database.transaction(() => {
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

  /** Unpacks an archive whose diff id is not known before, as a lowest layer. Answers its held stack. */
  async makeUnknown(archive: string, options: JoinOptions<UnpackProgress>): Promise<LayerStack> {
    const cacheId = newCacheId();
    this.#database.run("INSERT INTO image_layer (cache_id, state) VALUES (?, 'making')", cacheId);
    try {
      await this.#storage.create(cacheId, undefined);
      const { diffId, size } = await this.#unpacker.unpack({
        source: archive,
        target: this.#storage.diffPath(cacheId),
        whiteouts: "overlay",
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
      this.#database.run(
        "UPDATE image_layer SET chain_id = ?, diff_id = ?, size = ? WHERE cache_id = ?",
        diffId,
        diffId,
        size,
        cacheId,
      );
      const created = Promise.resolve();
      this.#live.set(diffId, { cacheId, diffId, created, holds: 0, unpacked: true, dirty: false, size });
      return this.hold([diffId]);
    } catch (error) {
      await this.#erase(cacheId);
      throw diskError(error, "unpack layer", cacheId);
    }
  }

  /** Marks a stack's layers complete; inside the durable transaction that writes the image. */
  complete(chain: readonly Digest[]): void {
    for (const chainId of chain) {
      if (!this.isUnpacked(chainId)) throw new Error(`layer ${chainId} is committed before it is made`);
      this.#database.run("UPDATE image_layer SET state = 'complete' WHERE chain_id = ?", chainId);
    }
  }

  /** Lets go of a stack; removes, topmost first, what nothing needs any more. Answers the chain ids removed. */
  async release(chain: readonly Digest[]): Promise<Digest[]> {
    const doomed: { chainId: Digest; cacheId: string; created: Promise<void> | undefined }[] = [];
    const waits: Promise<void>[] = [];
    for (const chainId of chain) {
      const live = this.#live.get(chainId);
      if (live !== undefined && --live.holds === 0) waits.push(this.#unpacks.settled(chainId));
    }
    await Promise.all(waits);
    this.#database.transaction(() => {
      for (const chainId of chain.toReversed()) {
        const live = this.#live.get(chainId);
        if (live !== undefined && live.holds > 0) continue;
        this.#live.delete(chainId);
        const cacheId = this.#unlink(chainId);
        if (cacheId !== undefined) doomed.push({ chainId, cacheId, created: live?.created });
      }
    });
    for (const { cacheId, created } of doomed) {
      await created?.catch(() => {}); // a directory that could not be made is removed like any other
      await this.#erase(cacheId);
    }
    return doomed.map(({ chainId }) => chainId);
  }

  /** Takes a layer nothing refers to out of the chain; its row stays, nameless, until its directory is gone. */
  #unlink(chainId: Digest): string | undefined {
    const row = this.#database.get<LayerRow>(
      `SELECT * FROM image_layer WHERE chain_id = ?
         AND NOT EXISTS (SELECT 1 FROM image WHERE top_chain = image_layer.chain_id)
         AND NOT EXISTS (SELECT 1 FROM image_layer AS above WHERE above.parent = image_layer.chain_id)`,
      chainId,
    );
    if (row === undefined) return undefined;
    this.#database.run(
      "UPDATE image_layer SET state = 'removing', chain_id = NULL, parent = NULL WHERE cache_id = ?",
      row.cache_id,
    );
    this.#database.run(
      "DELETE FROM layer_source WHERE diff_id = ?1 AND NOT EXISTS (SELECT 1 FROM image_layer WHERE diff_id = ?1 AND chain_id IS NOT NULL)",
      row.diff_id,
    );
    return row.cache_id;
  }

  async #erase(cacheId: string): Promise<void> {
    await this.#storage.remove(cacheId);
    this.#database.run("DELETE FROM image_layer WHERE cache_id = ?", cacheId);
  }

  #begin(chainId: Digest, diffId: Digest, parent: Digest | undefined): Live {
    const row = this.row(chainId);
    const live: Live = {
      cacheId: row?.cache_id ?? newCacheId(),
      diffId,
      // For a row whose directory was lost it is made again.
      created: row?.state === "complete" ? Promise.resolve() : undefined,
      holds: 0,
      unpacked: row?.state === "complete",
      dirty: false,
      size: row?.size ?? 0,
    };
    this.#live.set(chainId, live);
    if (row !== undefined) return live;
    this.#database.run(
      "INSERT INTO image_layer (cache_id, chain_id, diff_id, parent, state) VALUES (?, ?, ?, ?, 'making')",
      live.cacheId,
      chainId,
      diffId,
      parent ?? null,
    );
    return live;
  }

  #createDirectory(chainId: Digest, parent: Digest | undefined): void {
    const live = this.#live.get(chainId);
    if (live === undefined || live.created !== undefined) return;
    const below = parent === undefined ? undefined : this.#live.get(parent);
    live.created = (below?.created ?? Promise.resolve()).then(() =>
      this.#storage.create(live.cacheId, below?.cacheId),
    );
    live.created.catch(() => {}); // whoever makes the layer awaits it again
  }

  async #unpack(
    live: Live,
    source: string,
    tell: (progress: UnpackProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    using _slot = await this.#slots.take(signal);
    try {
      await live.created;
      const target = this.#storage.diffPath(live.cacheId);
      if (live.dirty) await empty(target);
      live.dirty = true;
      const total = (await stat(source)).size;
      tell({ phase: "extracting", current: 0, total });
      const { diffId, size } = await this.#unpacker.unpack({
        source,
        target,
        whiteouts: "overlay",
        expectedDiffId: live.diffId,
        onProgress: (consumed) => tell({ phase: "extracting", current: consumed, total }),
        signal,
      });
      if (diffId !== live.diffId) throw wrongDiffId(live.diffId, diffId);
      live.dirty = false;
      live.unpacked = true;
      live.size = size;
      this.#database.run("UPDATE image_layer SET size = ? WHERE cache_id = ?", size, live.cacheId);
      tell({ phase: "unpacked" });
    } catch (error) {
      // Give the space back before anything else has to be written.
      if (isNoSpace(error)) await empty(this.#storage.diffPath(live.cacheId)).catch(() => {}); // removed later anyway
      signal.throwIfAborted();
      throw registerError(error, live.diffId);
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

/** Docker's cache ids: 32 random bytes in hex. */
function newCacheId(): string {
  return randomBytes(32).toString("hex");
}
