/**
 * The rows of image layers: what is asked of the table and what is written to it.
 *
 * Synchronous, no files. A row precedes its directory and outlives it: "making" until an image that needs the layer is
 * committed, then "complete"; "removing", without a chain id, while the directory is on its way out.
 */
import { randomBytes } from "node:crypto";
import type { Database } from "#state/database.ts";
import type { Digest } from "./digest.ts";

export interface LayerRow {
  cache_id: string;
  chain_id: Digest | null;
  diff_id: Digest | null;
  parent: Digest | null;
  /** Bytes, unpacked. */
  size: number;
  state: "making" | "complete" | "removing";
}

/** No image ends with this layer and no layer stands on it. */
const unneeded = `
  NOT EXISTS (SELECT 1 FROM image WHERE top_chain = image_layer.chain_id)
  AND NOT EXISTS (SELECT 1 FROM image_layer AS above WHERE above.parent = image_layer.chain_id)`;

export class LayerRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  row(chainId: Digest): LayerRow | undefined {
    return this.#database.get<LayerRow>("SELECT * FROM image_layer WHERE chain_id = ?", chainId);
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

  inState(state: LayerRow["state"]): LayerRow[] {
    return this.#database.all<LayerRow>("SELECT * FROM image_layer WHERE state = ?", state);
  }

  cacheIds(): Set<string> {
    return new Set(
      this.#database.all<{ cache_id: string }>("SELECT cache_id FROM image_layer").map((row) => row.cache_id),
    );
  }

  /** Bytes by chain id of the layers that are complete. */
  sizes(): Map<Digest, number> {
    const rows = this.#database.all<{ chain_id: Digest; size: number }>(
      "SELECT chain_id, size FROM image_layer WHERE state = 'complete'",
    );
    return new Map(rows.map((row) => [row.chain_id, row.size]));
  }

  /** Identified layers that nothing refers to. What stands below them is not among them yet. */
  unneeded(): Digest[] {
    return this.#database
      .all<{ chain_id: Digest }>(
        `SELECT chain_id FROM image_layer WHERE chain_id IS NOT NULL AND ${unneeded}`,
      )
      .map((row) => row.chain_id);
  }

  /** Begins a layer; `parent` has its row already. Answers its new cache id. */
  insert(chainId: Digest | null, diffId: Digest | null, parent: Digest | null): string {
    // As Docker's: 32 random bytes in hex.
    const cacheId = randomBytes(32).toString("hex");
    this.#database.run(
      "INSERT INTO image_layer (cache_id, chain_id, diff_id, parent, state) VALUES (?, ?, ?, ?, 'making')",
      cacheId,
      chainId,
      diffId,
      parent,
    );
    return cacheId;
  }

  /** Gives a layer the identity that was only known after it was filled. */
  identify(cacheId: string, diffId: Digest, chainId: Digest, parent: Digest | null): void {
    this.#database.run(
      "UPDATE image_layer SET chain_id = ?, diff_id = ?, parent = ? WHERE cache_id = ?",
      chainId,
      diffId,
      parent,
      cacheId,
    );
  }

  setSize(cacheId: string, size: number): void {
    this.#database.run("UPDATE image_layer SET size = ? WHERE cache_id = ?", size, cacheId);
  }

  setState(cacheId: string, state: "making" | "complete"): void {
    this.#database.run("UPDATE image_layer SET state = ? WHERE cache_id = ?", state, cacheId);
  }

  /** Takes all layers that nothing refers to out of their chains. */
  unlinkAll(): void {
    this.#database.removal(() => {
      // Again and again: what stood below one that goes is unneeded only then.
      let unlinked: number;
      do {
        unlinked = this.#database.run(
          `UPDATE image_layer SET state = 'removing', chain_id = NULL, parent = NULL
           WHERE state <> 'removing' AND ${unneeded}`,
        );
      } while (unlinked > 0);
    });
  }

  /** Takes one layer out of its chain if nothing refers to it; answers its cache id then. */
  unlink(chainId: Digest): string | undefined {
    const row = this.#database.get<LayerRow>(
      `SELECT * FROM image_layer WHERE chain_id = ? AND ${unneeded}`,
      chainId,
    );
    if (row === undefined) return undefined;
    this.takeOut(row.cache_id);
    this.#database.run(
      `DELETE FROM layer_source WHERE diff_id = ?1
         AND NOT EXISTS (SELECT 1 FROM image_layer WHERE diff_id = ?1 AND chain_id IS NOT NULL)`,
      row.diff_id,
    );
    return row.cache_id;
  }

  /** What is in its directory is garbage from now on. */
  takeOut(cacheId: string): void {
    this.#database.run(
      "UPDATE image_layer SET state = 'removing', chain_id = NULL, parent = NULL WHERE cache_id = ?",
      cacheId,
    );
  }

  delete(cacheId: string): void {
    this.#database.run("DELETE FROM image_layer WHERE cache_id = ?", cacheId);
  }

  /** All or nothing. */
  transaction<T>(body: () => T): T {
    return this.#database.transaction(body);
  }

  /** All or nothing, of what takes layers away: the body may run twice. */
  removal<T>(body: () => T): T {
    return this.#database.removal(body);
  }
}
