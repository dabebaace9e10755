/**
 * Devices of layers that nobody needs: their blocks go back to the pool once the last user has gone, in the background and
 * one after another. What a crash cuts short is found again by its row, whose name begins with `.gone-`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isErrno } from "#kernel/syscall-error.ts";
import type { DeviceRows } from "#storage/devicemapper/device-rows.ts";
import type { MountedLayers } from "#storage/devicemapper/mounted-layers.ts";
import type { ThinPool } from "#storage/devicemapper/thin-pool.ts";

/** Milliseconds without a new one before deleting begins: while containers come and go, they go first. */
const quietTime = 500;
/** So many are deleted however busy it is: the pool's space does not wait for ever. */
const longestBacklog = 50;
/** How soon, in ms, a device that somebody has open is looked at again: at first, and at most. */
const patience = { first: 20, most: 5_000 };

export interface RemovalParts {
  pool: ThinPool;
  rows: DeviceRows;
  mounted: MountedLayers;
  /** The file below gets its blocks back. */
  discard: boolean;
}

export class DeviceRemoval {
  readonly #parts: RemovalParts;
  readonly #pending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #queue: Promise<unknown> = Promise.resolve();
  /** Those that wait for a quiet moment. */
  #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: RemovalParts) {
    this.#parts = parts;
  }

  /**
   * `row`: the name of its row by now. `layer`: by which it is mounted, if it still is. `untouched`: nothing was written to
   * it, so that no block is its alone.
   */
  add(row: string, layer: string, { untouched = false } = {}): void {
    const removal = this.#remove(row, layer, this.#parts.discard && !untouched);
    this.#pending.add(removal);
    removal.then(
      () => this.#pending.delete(removal),
      // Stays in the set, so that `settled` tells.
      () => undefined,
    );
  }

  /** Resolves when everything added so far is gone; rejects with the first failure, each told once. */
  async settled(): Promise<void> {
    this.#begin();
    const pending = [...this.#pending];
    const results = await Promise.allSettled(pending);
    for (const removal of pending) this.#pending.delete(removal);
    const failure = results.find((result) => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  /** Finishes what can be finished at once; the rest is the next daemon's. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.settled().catch(() => undefined);
  }

  #begin(): void {
    clearTimeout(this.#timer);
    for (const begin of this.#waiting.splice(0)) begin();
  }

  /** There is a quiet moment; and nobody holds it. */
  async #untilFree(layer: string): Promise<void> {
    const quiet = new Promise<void>((resolve) => this.#waiting.push(resolve));
    clearTimeout(this.#timer);
    if (this.#waiting.length >= longestBacklog) this.#begin();
    else this.#timer = setTimeout(() => this.#begin(), quietTime);
    await quiet;
    for (let wait = patience.first; this.#parts.mounted.isHeld(layer); wait = next(wait))
      await this.#pause(wait);
  }

  async #remove(row: string, layer: string, discard: boolean): Promise<void> {
    await this.#untilFree(layer);
    for (let wait = patience.first; ; wait = next(wait)) {
      const turn = this.#queue.then(() => this.#delete(row, layer, discard));
      this.#queue = turn.catch(() => undefined);
      if (await turn) return;
      // Others need not wait for who has it open.
      await this.#pause(wait);
    }
  }

  /** False while somebody has it open. */
  async #delete(row: string, layer: string, discard: boolean): Promise<boolean> {
    const { pool, rows, mounted } = this.#parts;
    const known = rows.get(row);
    if (known === undefined) return true;
    await mounted.alone(layer, async () => {
      // A new layer may have the name; its device is another one.
      if (rows.get(layer) === undefined) await pool.deactivate(layer);
    });
    try {
      if (discard) await this.#discard(row, known);
      await pool.delete(known.device_id);
    } catch (error) {
      if (isErrno(error, "EBUSY")) return false;
      throw error;
    }
    rows.delete(row);
    mounted.forget(layer);
    return true;
  }

  /** Blocks that other layers have, too, stay where they are. */
  async #discard(row: string, { device_id, size }: { device_id: number; size: number }): Promise<void> {
    const { pool } = this.#parts;
    try {
      await pool.activate(row, device_id, size);
      await pool.discard(row, size);
    } catch {
      // It is in use, or gone, or the file below takes none: deleting it tells.
    } finally {
      await pool.deactivate(row);
    }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal });
  }
}

function next(wait: number): number {
  return Math.min(wait * 2, patience.most);
}
