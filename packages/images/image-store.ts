/**
 * Images as rows, with their names and what registries have of them.
 *
 * An image row is written durably, in one transaction that also completes its layers and sets its names. Reads are synchronous
 * and cached: `docker run` asks on its hot path. Knows nothing of registries and archives.
 */
import type { Database } from "#state/database.ts";
import { type Digest, digestOf } from "./digest.ts";
import { type ImageConfig, parseImageConfig } from "./image-config.ts";
import { type ImageName, ImageNames, nameText } from "./image-names.ts";
import { ImageOrigins } from "./image-origins.ts";
import type { Image } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";

interface ImageRow {
  id: Digest;
  config: Uint8Array;
  top_chain: Digest | null;
  size: number;
  parent: Digest | null;
  withdrawn: number;
  last_tagged: string | null;
}

export interface StoredImage extends Image {
  document: ImageConfig;
  topChain: Digest | null;
  parent: Digest | null;
  /** RFC 3339, or undefined if it was never tagged here. */
  lastTagged: string | undefined;
}

export interface NewImage {
  id: Digest;
  /** The document, exactly as its digest was taken. */
  config: Uint8Array;
  /** Chain ids, lowest first; held by the caller and unpacked. */
  chain: readonly Digest[];
  size: number;
  parent?: Digest;
  /** It gets its names because a user said so, not because an archive or a registry has them. */
  tagged?: boolean;
}

export class ImageStore {
  readonly names: ImageNames;
  readonly origins: ImageOrigins;
  readonly #database: Database;
  readonly #layers: LayerStore;
  readonly #cache = new Map<Digest, StoredImage>();

  constructor(database: Database, layers: LayerStore) {
    this.names = new ImageNames(database);
    this.origins = new ImageOrigins(database);
    this.#database = database;
    this.#layers = layers;
  }

  /**
   * Call once, at the start: each configuration has to be what its id says. A damaged one comes from the backup, or its image
   * is set aside with its names, and its layers stay only as long as containers stand on them.
   */
  checkConfigs(): { id: Digest; kept: string; replaced: "from the backup" | "removed" }[] {
    const ids = this.#database.all<{ id: Digest }>("SELECT id FROM image");
    return ids.flatMap(({ id }) => {
      const stored = this.configOf(id);
      if (digestOf(stored) === id || (stored.length === 0 && this.#isWithdrawn(id))) return [];
      const row = this.#database.get<Record<string, unknown>>("SELECT * FROM image WHERE id = ?", id) ?? {};
      const names = this.names.of(id).map(nameText);
      const reason = "its configuration is not what its id says";
      const kept = this.#database.setAside("image", id, reason, { ...row, names: names.join(" ") });
      const saved = this.#database.fromBackup<ImageRow>("SELECT * FROM image WHERE id = ?", id)?.config;
      const sound = saved !== undefined && digestOf(saved) === id;
      this.#database.durably(() => {
        this.#database.run("UPDATE image SET config = ? WHERE id = ?", sound ? saved : new Uint8Array(), id);
        if (sound) return;
        for (const table of ["image_tag", "image_digest", "image_manifest"])
          this.#database.run(`DELETE FROM ${table} WHERE image_id = ?`, id);
        this.#database.run("UPDATE image SET withdrawn = 1 WHERE id = ?", id);
      });
      return [{ id, kept, replaced: sound ? "from the backup" : "removed" }];
    });
  }

  #isWithdrawn(id: Digest): boolean {
    const row = this.#database.get<{ n: number }>("SELECT withdrawn AS n FROM image WHERE id = ?", id);
    return row?.n === 1;
  }

  count(): number {
    return this.#database.get<{ n: number }>("SELECT count(*) AS n FROM image WHERE withdrawn = 0")?.n ?? 0;
  }

  get(id: Digest): StoredImage | undefined {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const row = this.#database.get<ImageRow>("SELECT * FROM image WHERE id = ? AND withdrawn = 0", id);
    if (row === undefined) return undefined;
    const image = this.#read(row);
    this.#cache.set(id, image);
    return image;
  }

  /** The configuration exactly as its digest was taken; empty for an image that is not there. */
  configOf(id: Digest): Uint8Array {
    return (
      this.#database.get<{ config: Uint8Array }>("SELECT config FROM image WHERE id = ?", id)?.config ??
      new Uint8Array()
    );
  }

  all(): StoredImage[] {
    return this.#database
      .all<{ id: Digest }>("SELECT id FROM image WHERE withdrawn = 0")
      .flatMap(({ id }) => this.get(id) ?? []);
  }

  /** Images whose id begins with these hex digits; at most two, which is enough to see that it is ambiguous. */
  withPrefix(hex: string): StoredImage[] {
    return this.#database
      .all<{ id: Digest }>(
        "SELECT id FROM image WHERE id >= ? AND id < ? AND withdrawn = 0 LIMIT 2",
        `sha256:${hex}`,
        `sha256:${hex}g`,
      )
      .flatMap(({ id }) => this.get(id) ?? []);
  }

  /** Bytes of an image's layers, of a withdrawn one too. */
  sizeOf(id: Digest): number {
    return this.#database.get<{ size: number }>("SELECT size FROM image WHERE id = ?", id)?.size ?? 0;
  }

  children(id: Digest): number {
    return (
      this.#database.get<{ n: number }>(
        "SELECT count(*) AS n FROM image WHERE parent = ? AND withdrawn = 0",
        id,
      )?.n ?? 0
    );
  }

  /**
   * Writes an image, its layers and names, all or nothing, on the disk when it returns. `names` move here from whatever
   * image had them. An image that is there already only gets the names.
   */
  commit(image: NewImage, names: readonly ImageName[]): void {
    this.#database.durably(() => {
      this.#layers.complete(image.chain);
      this.#database.run(
        `INSERT INTO image (id, config, top_chain, size, parent) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET withdrawn = 0, config = excluded.config`,
        image.id,
        image.config,
        image.chain.at(-1) ?? null,
        image.size,
        image.parent ?? null,
      );
      for (const name of names) this.names.set(name, image.id);
      if (image.tagged === true && names.length > 0) this.#setTagged(image.id);
    });
    this.#cache.delete(image.id);
  }

  /** Makes a name stand for an image, durably. `tagged`: because a user said so, which is remembered with its time. */
  setName(name: ImageName, id: Digest, options: { tagged?: boolean } = {}): void {
    this.#database.durably(() => {
      this.names.set(name, id);
      if (options.tagged === true) this.#setTagged(id);
    });
    this.#cache.delete(id);
  }

  /** Removes a nameless image's row. Its layers are the caller's to release. */
  delete(id: Digest): void {
    this.#cache.delete(id);
    this.#database.durably(() => {
      this.#database.run("UPDATE image SET parent = NULL WHERE parent = ?", id);
      this.#database.run("DELETE FROM image WHERE id = ?", id);
    });
  }

  /** Hides an image from everybody but the layers it keeps, until `withdrawn` images are collected. */
  withdraw(id: Digest): void {
    this.#cache.delete(id);
    this.#database.durably(() => this.#database.run("UPDATE image SET withdrawn = 1 WHERE id = ?", id));
  }

  withdrawn(): { id: Digest; topChain: Digest | null }[] {
    return this.#database.all<{ id: Digest; topChain: Digest | null }>(
      "SELECT id, top_chain AS topChain FROM image WHERE withdrawn = 1",
    );
  }

  #setTagged(id: Digest): void {
    this.#database.run("UPDATE image SET last_tagged = ? WHERE id = ?", new Date().toISOString(), id);
  }

  #read(row: ImageRow): StoredImage {
    const document = parseImageConfig(row.config, row.id);
    const top = row.top_chain === null ? undefined : this.#layers.row(row.top_chain);
    return {
      id: row.id,
      config: document.config,
      architecture: document.architecture,
      os: document.os,
      created: document.created ?? "",
      topLayer: top?.cache_id,
      size: row.size,
      document,
      topChain: row.top_chain,
      parent: row.parent,
      lastTagged: row.last_tagged ?? undefined,
    };
  }
}
