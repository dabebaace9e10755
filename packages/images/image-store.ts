/**
 * Images and their names, as rows.
 *
 * An image row is written durably, in one transaction that also completes its layers. Names are kept in canonical form.
 * Reads are synchronous and cached: `docker run` asks on its hot path. Knows nothing of registries and archives.
 */
import type { Database } from "#state/database.ts";
import type { Digest } from "./digest.ts";
import { type ImageConfig, parseImageConfig } from "./image-config.ts";
import type { Image } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { familiarRepository } from "./reference.ts";

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

/** One name of an image: a tag or a digest in a repository. */
export interface ImageName {
  /** Canonical: "docker.io/library/busybox". */
  repository: string;
  tag: string | undefined;
  digest: Digest | undefined;
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

/** A compressed layer in a repository. */
export interface LayerSource {
  /** Canonical. */
  repository: string;
  digest: Digest;
  /** Bytes. */
  size: number;
  mediaType: string;
}

export interface StoredManifest {
  digest: Digest;
  mediaType: string;
  content: Uint8Array;
}

export class ImageStore {
  readonly #database: Database;
  readonly #layers: LayerStore;
  readonly #cache = new Map<Digest, StoredImage>();

  constructor(database: Database, layers: LayerStore) {
    this.#database = database;
    this.#layers = layers;
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

  /** The id a name stands for. */
  find({ repository, tag, digest }: ImageName): Digest | undefined {
    const row =
      digest !== undefined
        ? this.#database.get<{ image_id: Digest }>(
            "SELECT image_id FROM image_digest WHERE repository = ? AND digest = ?",
            repository,
            digest,
          )
        : this.#database.get<{ image_id: Digest }>(
            "SELECT image_id FROM image_tag WHERE repository = ? AND tag = ?",
            repository,
            tag ?? "latest",
          );
    return row?.image_id;
  }

  /** All names of an image: tags first, each group in order. */
  namesOf(id: Digest): ImageName[] {
    const tags = this.#database.all<{ repository: string; tag: string }>(
      "SELECT repository, tag FROM image_tag WHERE image_id = ? ORDER BY repository, tag",
      id,
    );
    const digests = this.#database.all<{ repository: string; digest: Digest }>(
      "SELECT repository, digest FROM image_digest WHERE image_id = ? ORDER BY repository, digest",
      id,
    );
    return [
      ...tags.map((name) => ({ ...name, digest: undefined })),
      ...digests.map((name) => ({ ...name, tag: undefined })),
    ];
  }

  /** Bytes of an image's layers, of a withdrawn one too. */
  sizeOf(id: Digest): number {
    return this.#database.get<{ size: number }>("SELECT size FROM image WHERE id = ?", id)?.size ?? 0;
  }

  /** The tags of a repository, in order, and what they stand for. */
  tagsIn(repository: string): { tag: string; id: Digest }[] {
    return this.#database.all<{ tag: string; id: Digest }>(
      "SELECT tag, image_id AS id FROM image_tag WHERE repository = ? ORDER BY tag",
      repository,
    );
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
         ON CONFLICT (id) DO UPDATE SET withdrawn = 0`,
        image.id,
        image.config,
        image.chain.at(-1) ?? null,
        image.size,
        image.parent ?? null,
      );
      for (const name of names) this.#setName(name, image.id);
      if (image.tagged === true && names.length > 0) this.#setTagged(image.id);
    });
    this.#cache.delete(image.id);
  }

  /** Makes a name stand for an image, durably. `tagged`: because a user said so, which is remembered with its time. */
  setName(name: ImageName, id: Digest, options: { tagged?: boolean } = {}): void {
    this.#database.durably(() => {
      this.#setName(name, id);
      if (options.tagged === true) this.#setTagged(id);
    });
    this.#cache.delete(id);
  }

  removeName({ repository, tag, digest }: ImageName): void {
    this.#database.durably(() => {
      if (digest !== undefined) {
        this.#database.run(
          "DELETE FROM image_digest WHERE repository = ? AND digest = ?",
          repository,
          digest,
        );
      } else {
        this.#database.run(
          "DELETE FROM image_tag WHERE repository = ? AND tag = ?",
          repository,
          tag ?? "latest",
        );
      }
    });
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

  /** Remembers where a layer's compressed blob can be had. */
  recordSource(diffId: Digest, { repository, digest, size, mediaType }: LayerSource): void {
    this.#database.run(
      `INSERT INTO layer_source (diff_id, repository, digest, size, media_type) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET media_type = excluded.media_type`,
      diffId,
      repository,
      digest,
      size,
      mediaType,
    );
  }

  /** Where this layer's blobs were seen, latest first. */
  sourcesOf(diffId: Digest): LayerSource[] {
    return this.#database.all<LayerSource>(
      `SELECT repository, digest, size, media_type AS mediaType FROM layer_source
       WHERE diff_id = ? ORDER BY rowid DESC`,
      diffId,
    );
  }

  /** A registry said that it has no such blob there. */
  forgetSource(diffId: Digest, repository: string, digest: Digest): void {
    this.#database.run(
      "DELETE FROM layer_source WHERE diff_id = ? AND repository = ? AND digest = ?",
      diffId,
      repository,
      digest,
    );
  }

  /** Keeps the manifest that an image came by or was pushed with. */
  recordManifest(id: Digest, { digest, mediaType, content }: StoredManifest): void {
    this.#database.run(
      "INSERT INTO image_manifest VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
      id,
      digest,
      mediaType,
      content,
    );
  }

  /** The image's manifests, the first it came by first. */
  manifestsOf(id: Digest): StoredManifest[] {
    return this.#database.all<StoredManifest>(
      "SELECT digest, media_type AS mediaType, content FROM image_manifest WHERE image_id = ? ORDER BY rowid",
      id,
    );
  }

  #setName({ repository, tag, digest }: ImageName, id: Digest): void {
    if (digest !== undefined) {
      this.#database.run(
        "INSERT INTO image_digest VALUES (?, ?, ?) ON CONFLICT (repository, digest) DO UPDATE SET image_id = excluded.image_id",
        repository,
        digest,
        id,
      );
      return;
    }
    this.#database.run(
      "INSERT INTO image_tag VALUES (?, ?, ?) ON CONFLICT (repository, tag) DO UPDATE SET image_id = excluded.image_id",
      repository,
      tag ?? "latest",
      id,
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

/** "busybox:latest" or "busybox@sha256:…", as Docker shows it. */
export function nameText({ repository, tag, digest }: ImageName): string {
  const familiar = familiarRepository(repository);
  return digest === undefined ? `${familiar}:${tag}` : `${familiar}@${digest}`;
}
