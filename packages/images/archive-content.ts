/**
 * What is in an uploaded image archive, however it was taken in; and the errors about it.
 */
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import type { StagedLayer } from "#storage/staging/staging-types.ts";

/** A layer of an archive: a file with it, or what it was unpacked to already. */
export type ArchiveLayer = { path: string } | StagedLayer;

export interface ArchiveContent extends AsyncDisposable {
  has(name: string): boolean;
  /** A small file's content. Throws "invalid" where it is missing and "too-large" beyond `limit` bytes. */
  read(name: string, limit: number): Promise<Buffer>;
  /** Throws "invalid" where it is missing or broken. */
  layer(name: string): ArchiveLayer;
}

/** Links may point to links. */
const linkDepth = 8;

/** Where the content of an entry really is, links followed. */
export function followLink(
  name: string,
  isThere: (name: string) => boolean,
  links: ReadonlyMap<string, string>,
): string | undefined {
  let at: string | undefined = name;
  for (let depth = 0; depth < linkDepth && at !== undefined; depth++) {
    if (isThere(at)) return at;
    at = links.get(at);
  }
  return undefined;
}

export async function readJson(content: ArchiveContent, name: string, limit: number): Promise<unknown> {
  const bytes = await content.read(name, limit);
  try {
    return parseJson(bytes.toString("utf8"));
  } catch (cause) {
    throw invalidArchive(`${name} is not JSON (${(cause as Error).message.slice(0, 200)})`);
  }
}

export function invalidArchive(why: string): BerthError {
  return new BerthError("invalid", `invalid archive: ${why}`, { operation: "load image" });
}

export function tooLarge(name: string, limit: number): BerthError {
  return new BerthError("too-large", `invalid archive: ${name} is larger than ${limit} bytes`, {
    operation: "load image",
    object: name,
  });
}
