/** Which images an archive has, in Docker's own format or as an OCI layout. Nothing is stored here. */
import { BerthError } from "#errors/errors.ts";
import { type ArchiveContent, type ArchiveLayer, invalidArchive, readJson } from "./archive-content.ts";
import { type Digest, digestOf, hexOf } from "./digest.ts";
import { configLimit, parseImageConfig } from "./image-config.ts";
import { type ImageName, imageName } from "./image-names.ts";
import { parsePlatform, platformRank, platformText } from "./platform.ts";
import { parseReference, tryParseReference, withDefaultTag } from "./reference.ts";
import {
  chooseManifest,
  type ImageIndex,
  type ImageManifest,
  type IndexEntry,
  manifestLimit,
  parseManifest,
} from "./registry/manifest.ts";

/** One image of an archive. */
export interface ArchivedImage {
  config: Buffer;
  id: Digest;
  /** Lowest first. */
  layers: ArchiveLayer[];
  names: ImageName[];
}

/**
 * One after the other, so that those before a broken one can be had. `platform` ("linux/arm64"): only what is for it; empty
 * means what fits this machine, and whatever names no platform.
 */
export function imagesOf(content: ArchiveContent, platform: string): AsyncGenerator<ArchivedImage> {
  // Docker 25 and later write both; the older description names every tag.
  if (content.has("manifest.json")) return dockerArchive(content, platform);
  if (content.has("index.json")) return ociLayout(content, platform);
  throw invalidArchive("does not contain a manifest.json");
}

/** manifest.json: [{"Config": path, "RepoTags": [name], "Layers": [path]}]. */
async function* dockerArchive(content: ArchiveContent, platform: string): AsyncGenerator<ArchivedImage> {
  const manifest = await readJson(content, "manifest.json", manifestLimit);
  if (!Array.isArray(manifest)) throw invalidArchive("manifest.json is not a list");
  let fitting = 0;
  for (const item of manifest as unknown[]) {
    const { Config, RepoTags, Layers } = (item ?? {}) as Record<string, unknown>;
    if (typeof Config !== "string") throw invalidArchive("manifest.json names no configuration");
    const config = await content.read(Config, configLimit);
    const id = digestOf(config);
    if (
      platform !== "" &&
      platformRank(parseImageConfig(config, id), parsePlatform(platform)) === undefined
    ) {
      continue;
    }
    fitting += 1;
    yield {
      config,
      id,
      layers: strings(Layers ?? [], "Layers").map((name) => content.layer(name)),
      names: strings(RepoTags ?? [], "RepoTags").map(tagName),
    };
  }
  if (fitting === 0 && platform !== "") throw noSuchPlatform(platform);
}

function noSuchPlatform(platform: string): BerthError {
  const message = `requested platform (${platformText(parsePlatform(platform))}) is not in the archive`;
  return new BerthError("not-found", message, { operation: "load image", object: platform });
}

function tagName(text: string): ImageName {
  const reference = parseReference(text);
  if (reference.tag !== undefined && reference.digest === undefined) return imageName(reference);
  throw invalidArchive(`invalid tag ${JSON.stringify(text)}`);
}

function strings(value: unknown, what: string): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw invalidArchive(`${what} of manifest.json is not a list of texts`);
}

/** OCI image-layout: index.json names manifests, blobs/sha256 holds everything by digest. */
async function* ociLayout(content: ArchiveContent, platform: string): AsyncGenerator<ArchivedImage> {
  const top = parseManifest(
    await content.read("index.json", manifestLimit),
    "application/vnd.oci.image.index.v1+json",
    "archive",
  );
  if (top.kind !== "index") throw invalidArchive("index.json is not an index");
  const fits = (entry: IndexEntry) => fitsPlatform(entry, platform);
  const fitting = top.manifests.filter(fits);
  if (fitting.length === 0 && platform !== "") throw noSuchPlatform(platform);
  if (fitting.length === 0) throw invalidArchive("it has no image for this machine's platform");
  // One image can have several entries, each with a name.
  const byManifest = Map.groupBy(fitting, ({ digest }) => digest);
  for (const entries of byManifest.values()) {
    const manifest = await manifestOf(content, entries[0] as IndexEntry, platform);
    const config = await blob(content, manifest.config.digest, configLimit);
    const id = manifest.config.digest;
    if (
      platform !== "" &&
      platformRank(parseImageConfig(config, id), parsePlatform(platform)) === undefined
    ) {
      throw noSuchPlatform(platform);
    }
    yield {
      config,
      id,
      layers: manifest.layers.map(({ digest }) => layerBlob(content, digest)),
      names: entries.flatMap(annotatedNames),
    };
  }
}

function fitsPlatform({ platform }: IndexEntry, wanted: string): boolean {
  if (platform === undefined || platform.os === "") return true;
  return platformRank(platform, parsePlatform(wanted)) !== undefined;
}

async function manifestOf(
  content: ArchiveContent,
  entry: IndexEntry,
  platform: string,
): Promise<ImageManifest> {
  const read = async (from: IndexEntry): Promise<ImageManifest | ImageIndex> =>
    parseManifest(await blob(content, from.digest, manifestLimit), from.mediaType, "archive");
  const outer = await read(entry);
  const inner =
    outer.kind === "image" ? outer : await read(chooseManifest(outer, parsePlatform(platform), "archive"));
  if (inner.kind === "image") return inner;
  throw invalidArchive("an index inside an index");
}

/** containerd writes the full name; others a name or only a tag, which alone names nothing. */
function annotatedNames({ annotations }: IndexEntry): ImageName[] {
  const full = annotations["io.containerd.image.name"];
  const short = annotations["org.opencontainers.image.ref.name"];
  const text = full ?? (short !== undefined && /[:/]/.test(short) ? short : undefined);
  const reference = text === undefined ? undefined : tryParseReference(text);
  return reference === undefined ? [] : [imageName(withDefaultTag({ ...reference, digest: undefined }))];
}

async function blob(content: ArchiveContent, digest: Digest, limit: number): Promise<Buffer> {
  const bytes = await content.read(blobName(digest), limit);
  if (digestOf(bytes) === digest) return bytes;
  throw invalidArchive(`blob ${digest} has another content`);
}

function layerBlob(content: ArchiveContent, digest: Digest): ArchiveLayer {
  const layer = content.layer(blobName(digest));
  // Files are compared with their diff id when they are unpacked.
  if ("path" in layer || layer.digest === digest) return layer;
  throw invalidArchive(`blob ${digest} has another content`);
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
