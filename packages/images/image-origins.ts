/**
 * What registries have of our images, as rows: in which repositories a layer's compressed blob was seen, and the manifests that
 * an image came by or was pushed with.
 *
 * Hints that save an upload or keep a digest; nothing is lost with a row that is missing or wrong.
 */
import type { Database } from "#state/database.ts";
import type { Digest } from "./digest.ts";

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

export class ImageOrigins {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
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
}
