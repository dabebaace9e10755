/**
 * The names of images: tags and digests in repositories, as rows. Names are kept in canonical form.
 *
 * A name stands for one image at most. Looking an image up by what a client typed is not done here (`resolve-image.ts`).
 */
import { BerthError } from "#errors/errors.ts";
import type { Database } from "#state/database.ts";
import type { Digest } from "./digest.ts";
import {
  familiarRepository,
  familiarText,
  parseReference,
  parseTag,
  type Reference,
  repositoryOf,
} from "./reference.ts";

/** One name of an image: a tag or a digest in a repository. */
export interface ImageName {
  /** Canonical: "docker.io/library/busybox". */
  repository: string;
  tag: string | undefined;
  digest: Digest | undefined;
}

export class ImageNames {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
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
  of(id: Digest): ImageName[] {
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

  /** The tags of a repository, in order, and what they stand for. */
  in(repository: string): { tag: string; id: Digest }[] {
    return this.#database.all<{ tag: string; id: Digest }>(
      "SELECT tag, image_id AS id FROM image_tag WHERE repository = ? ORDER BY tag",
      repository,
    );
  }

  /** Makes a name stand for an image, inside whoever's transaction. */
  set({ repository, tag, digest }: ImageName, id: Digest): void {
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

  /** Durably. */
  remove({ repository, tag, digest }: ImageName): void {
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
}

/** The name that a reference is, without a default tag. */
export function imageName(reference: Reference): ImageName {
  return {
    repository: repositoryOf(reference),
    tag: reference.digest === undefined ? reference.tag : undefined,
    digest: reference.digest,
  };
}

/** "busybox:latest" or "busybox@sha256:…", as Docker shows it. */
export function nameText({ repository, tag, digest }: ImageName): string {
  const familiar = familiarRepository(repository);
  return digest === undefined ? `${familiar}:${tag}` : `${familiar}@${digest}`;
}

/** A name that a user wants to give: without a tag it is "latest". Throws "invalid" for one with a digest. */
export function newTag(repository: string, tag: string): { name: ImageName; familiar: string } {
  const target = parseReference(repository);
  if (target.digest !== undefined) {
    throw new BerthError("invalid", "refusing to create a tag with a digest reference", {
      operation: "tag image",
      object: repository,
    });
  }
  const given = tag === "" ? target.tag : parseTag(tag);
  return {
    name: { repository: repositoryOf(target), tag: given ?? "latest", digest: undefined },
    familiar: familiarText({ ...target, tag: given }),
  };
}
