/**
 * The end of layers: what no image, no other layer and no holder needs goes, topmost first.
 *
 * A layer is taken out of its chain first, durably, and its directory is removed then: what a crash or a full disk leaves of
 * that is found by its row, at the next start or prune.
 */
import type { Logger } from "#errors/logger-types.ts";
import type { Digest } from "./digest.ts";
import { isNoSpace } from "./disk-errors.ts";
import type { LayerDirectories } from "./layer-directories.ts";
import type { LayerRows } from "./layer-rows.ts";
import type { LayersInUse } from "./layers-in-use.ts";

/** A layer that was taken out of the table; its directory is next. */
interface Doomed {
  chainId: Digest;
  cacheId: string;
  created: Promise<void> | undefined;
}

export class LayerRemoval {
  readonly #rows: LayerRows;
  readonly #inUse: LayersInUse;
  readonly #directories: LayerDirectories;
  readonly #log: Logger;

  constructor(rows: LayerRows, held: LayersInUse, directories: LayerDirectories, log: Logger) {
    this.#rows = rows;
    this.#inUse = held;
    this.#directories = directories;
    this.#log = log;
  }

  /** Before anybody holds a layer: removes all that a crash left half made or half removed, and what no image needs. */
  async clearUp(): Promise<void> {
    this.#rows.unlinkAll();
    const gone = this.#rows.inState("removing");
    for (const { cache_id } of gone) await this.#directories.erase(cache_id);
    if (gone.length > 0) this.#log.info("removed layers that no image needs", { layers: gone.length });
  }

  /** Removes those of a chain that nobody holds any more and nothing needs. Answers their chain ids, topmost first. */
  async removeUnneeded(chain: readonly Digest[]): Promise<Digest[]> {
    const doomed = await this.#unlink(chain);
    for (const { cacheId, created } of doomed) {
      await created?.catch(() => {}); // a directory that could not be made is removed like any other
      await this.#directories.erase(cacheId);
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
      for (const chainId of chain) if (!this.#inUse.isHeld(chainId)) this.#inUse.forget(chainId);
      return [];
    }
  }

  #tryUnlink(chain: readonly Digest[]): Doomed[] {
    const free = chain.toReversed().filter((chainId) => !this.#inUse.isHeld(chainId));
    const doomed = this.#rows.removal(() => {
      const unlinked: Doomed[] = [];
      for (const chainId of free) {
        const cacheId = this.#rows.unlink(chainId);
        if (cacheId === undefined) continue;
        unlinked.push({ chainId, cacheId, created: this.#inUse.get(chainId)?.created });
      }
      return unlinked;
    });
    for (const chainId of free) this.#inUse.forget(chainId);
    return doomed;
  }

  async #emptyUnfinished(chainId: Digest): Promise<void> {
    const layer = this.#inUse.get(chainId);
    if (layer === undefined || this.#inUse.isHeld(chainId)) return;
    if (this.#rows.row(chainId)?.state !== "making") return;
    layer.unpacked = false;
    layer.dirty = true;
    // Whoever begins with it again meanwhile waits for this.
    layer.created = (layer.created ?? Promise.resolve()).then(() => this.#directories.empty(layer.cacheId));
    await layer.created.catch(() => {}); // a directory that was never made takes no space
  }

  /**
   * Removes what nobody holds and no image needs: a release that could not finish, on a full disk for one, left it. What
   * has no identity yet is somebody's work. Answers the bytes.
   */
  async collectGarbage(): Promise<number> {
    const doomed = this.#rows.inState("removing").map(({ cache_id }) => cache_id);
    let bytes = 0;
    for (;;) {
      const unneeded = this.#rows.unneeded().filter((chainId) => !this.#inUse.isHeld(chainId));
      if (unneeded.length === 0) break;
      const sizes = unneeded.map((chainId) => this.#rows.row(chainId)?.size ?? 0);
      const unlinked = this.#rows.removal(() => unneeded.map((chainId) => this.#rows.unlink(chainId)));
      doomed.push(...unlinked.filter((cacheId) => cacheId !== undefined));
      bytes += sizes.reduce((sum, size) => sum + size, 0);
      for (const chainId of unneeded) this.#inUse.forget(chainId);
    }
    for (const cacheId of doomed) await this.#directories.erase(cacheId);
    return bytes;
  }
}
