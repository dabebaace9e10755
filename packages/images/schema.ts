/**
 * The tables of images, layers and names.
 *
 * A layer row exists before its directory and outlives it; "making" rows are undone at start-up. An image row refers
 * only to complete layers. `chain_id` is unknown while an import is unpacked, hence nullable; the cache id is the key.
 */
import type { Migrations } from "#state/database.ts";

export const imageMigrations: Migrations = {
  area: "images",
  steps: [
    `
    CREATE TABLE image_layer (
      cache_id TEXT PRIMARY KEY,
      chain_id TEXT UNIQUE,
      diff_id TEXT,
      parent TEXT REFERENCES image_layer (chain_id),
      size INTEGER NOT NULL DEFAULT 0,
      state TEXT NOT NULL CHECK (state IN ('making', 'complete', 'removing'))
    ) STRICT;
    CREATE INDEX image_layer_parent ON image_layer (parent);

    -- withdrawn: removed by force while stopped containers still stand on its layers.
    CREATE TABLE image (
      id TEXT PRIMARY KEY,
      config BLOB NOT NULL,
      top_chain TEXT REFERENCES image_layer (chain_id),
      size INTEGER NOT NULL,
      parent TEXT,
      withdrawn INTEGER NOT NULL DEFAULT 0,
      last_tagged TEXT
    ) STRICT;
    CREATE INDEX image_top_chain ON image (top_chain);

    -- repository in canonical form: docker.io/library/busybox
    CREATE TABLE image_tag (
      repository TEXT NOT NULL,
      tag TEXT NOT NULL,
      image_id TEXT NOT NULL REFERENCES image (id),
      PRIMARY KEY (repository, tag)
    ) STRICT;
    CREATE INDEX image_tag_image ON image_tag (image_id);

    CREATE TABLE image_digest (
      repository TEXT NOT NULL,
      digest TEXT NOT NULL,
      image_id TEXT NOT NULL REFERENCES image (id),
      PRIMARY KEY (repository, digest)
    ) STRICT;
    CREATE INDEX image_digest_image ON image_digest (image_id);

    -- Where a layer's compressed blob came from: what a push can mount or skip instead of sending.
    CREATE TABLE layer_source (
      diff_id TEXT NOT NULL,
      repository TEXT NOT NULL,
      digest TEXT NOT NULL,
      size INTEGER NOT NULL,
      PRIMARY KEY (diff_id, repository, digest)
    ) STRICT;
    `,
    `
    -- The manifests an image was pulled by, byte for byte: pushed again they keep its digest.
    CREATE TABLE image_manifest (
      image_id TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
      digest TEXT NOT NULL,
      media_type TEXT NOT NULL,
      content BLOB NOT NULL,
      PRIMARY KEY (image_id, digest)
    ) STRICT;
    ALTER TABLE layer_source ADD COLUMN media_type TEXT NOT NULL DEFAULT '';
    `,
  ],
};
