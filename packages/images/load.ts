/**
 * docker load: images from an archive, in Docker's own format or as an OCI layout.
 *
 * The archive is first taken apart into a directory that is gone again at the end, then each image is committed by itself:
 * one that is broken does not take back those before it.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { BerthError } from "#errors/errors.ts";
import { ArchiveFiles, invalidArchive } from "./archive-files.ts";
import { type Digest, digestOf, hexOf, shortId } from "./digest.ts";
import { configLimit, parseImageConfig } from "./image-config.ts";
import { type ImageName, type ImageStore, nameText } from "./image-store.ts";
import type { ReportProgress } from "./image-types.ts";
import type { LayerStore, UnpackProgress } from "./layer-store.ts";
import { imageName } from "./names.ts";
import { hostPlatform, platformRank } from "./platform.ts";
import { progressMessage, throttle } from "./progress.ts";
import { parseReference, tryParseReference, withDefaultTag } from "./reference.ts";
import {
  chooseManifest,
  type ImageIndex,
  type ImageManifest,
  type IndexEntry,
  manifestLimit,
  parseManifest,
} from "./registry/manifest.ts";

export interface LoadDependencies {
  images: ImageStore;
  layers: LayerStore;
  /** Where archives are taken apart; beneath the data root, so that sizes are limited by its disk. */
  scratch: string;
  flush: () => Promise<void>;
}

export interface LoadOptions {
  quiet: boolean;
  report: ReportProgress;
  signal?: AbortSignal;
}

/** One image of an archive. */
interface Candidate {
  config: Buffer;
  id: Digest;
  /** Paths of layer archives on disk, lowest first. */
  layers: string[];
  names: ImageName[];
}

/** Answers the ids loaded. Throws BerthError; what was loaded before the failure stays. */
export async function loadImages(
  archive: Readable,
  options: LoadOptions,
  dependencies: LoadDependencies,
): Promise<Digest[]> {
  const scratch = join(dependencies.scratch, randomUUID());
  await using files = await ArchiveFiles.extract(archive, scratch, options.signal);
  const ids: Digest[] = [];
  for await (const candidate of candidates(files)) {
    await loadOne(candidate, options, dependencies);
    ids.push(candidate.id);
  }
  return ids;
}

function candidates(files: ArchiveFiles): AsyncGenerator<Candidate> {
  // Docker 25 and later write both; the older description names every tag.
  if (files.path("manifest.json") !== undefined) return dockerArchive(files);
  if (files.path("index.json") !== undefined) return ociLayout(files);
  throw invalidArchive("does not contain a manifest.json");
}

async function loadOne(
  candidate: Candidate,
  { quiet, report, signal }: LoadOptions,
  { images, layers, flush }: LoadDependencies,
): Promise<void> {
  const { id, config, names } = candidate;
  const document = parseImageConfig(config, id);
  const diffIds = document.rootfs.diff_ids;
  if (diffIds.length !== candidate.layers.length) {
    throw invalidArchive(
      `layers length mismatch: expected ${diffIds.length}, got ${candidate.layers.length}`,
    );
  }
  if (document.os !== "" && document.os !== hostPlatform().os) {
    throw new BerthError("invalid", `cannot load ${document.os} image on ${hostPlatform().os}`, {
      operation: "load image",
      object: id,
    });
  }
  await using stack = layers.hold(diffIds);
  const made = await Promise.allSettled(
    stack.missing().map((index) =>
      layers.make<never>(stack.chain[index] ?? "", async () => ({ path: candidate.layers[index] ?? "" }), {
        report: quiet ? () => {} : layerReporter(shortId(diffIds[index] ?? ""), report),
        signal,
      }),
    ),
  );
  signal?.throwIfAborted();
  for (const result of made) if (result.status === "rejected") throw result.reason;
  await flush();
  const displaced = names.map((name) => ({ name, old: images.find(name) }));
  images.commit({ id, config, chain: stack.chain, size: stack.size() }, names);
  for (const { name, old } of displaced) {
    if (old === undefined || old === id) continue;
    report({
      stream: `The image ${nameText(name)} already exists, renaming the old one with ID ${old} to empty string\n`,
    });
  }
  for (const name of names) report({ stream: `Loaded image: ${nameText(name)}\n` });
  if (names.length === 0) report({ stream: `Loaded image ID: ${id}\n` });
}

function layerReporter(id: string, report: ReportProgress): (progress: UnpackProgress) => void {
  const loading = throttle((current, total) => report(progressMessage(id, "Loading layer", current, total)));
  let whole = 0;
  return (progress) => {
    if (progress.phase === "unpacked") return loading(whole, whole, true);
    whole = progress.total;
    loading(progress.current, progress.total);
  };
}

/** manifest.json: [{"Config": path, "RepoTags": [name], "Layers": [path]}]. */
async function* dockerArchive(files: ArchiveFiles): AsyncGenerator<Candidate> {
  const manifest = await files.readJson("manifest.json", manifestLimit);
  if (!Array.isArray(manifest)) throw invalidArchive("manifest.json is not a list");
  for (const item of manifest as unknown[]) {
    const { Config, RepoTags, Layers } = (item ?? {}) as Record<string, unknown>;
    if (typeof Config !== "string") throw invalidArchive("manifest.json names no configuration");
    const config = await files.read(Config, configLimit);
    yield {
      config,
      id: digestOf(config),
      layers: strings(Layers ?? [], "Layers").map((name) => layerPath(files, name)),
      names: strings(RepoTags ?? [], "RepoTags").map(tagName),
    };
  }
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
async function* ociLayout(files: ArchiveFiles): AsyncGenerator<Candidate> {
  const top = parseManifest(
    await files.read("index.json", manifestLimit),
    "application/vnd.oci.image.index.v1+json",
    "archive",
  );
  if (top.kind !== "index") throw invalidArchive("index.json is not an index");
  const fitting = top.manifests.filter(fitsHost);
  if (fitting.length === 0) throw invalidArchive("it has no image for this machine's platform");
  for (const entry of fitting) {
    const manifest = await manifestOf(files, entry);
    const config = await blob(files, manifest.config.digest, configLimit);
    yield {
      config,
      id: manifest.config.digest,
      layers: manifest.layers.map(({ digest }) => layerPath(files, blobName(digest))),
      names: annotatedNames(entry),
    };
  }
}

function fitsHost({ platform }: IndexEntry): boolean {
  return platform === undefined || platform.os === "" || platformRank(platform, hostPlatform()) !== undefined;
}

async function manifestOf(files: ArchiveFiles, entry: IndexEntry): Promise<ImageManifest> {
  const read = async (from: IndexEntry): Promise<ImageManifest | ImageIndex> =>
    parseManifest(await blob(files, from.digest, manifestLimit), from.mediaType, "archive");
  const outer = await read(entry);
  const inner = outer.kind === "image" ? outer : await read(chooseManifest(outer, hostPlatform(), "archive"));
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

async function blob(files: ArchiveFiles, digest: Digest, limit: number): Promise<Buffer> {
  const bytes = await files.read(blobName(digest), limit);
  if (digestOf(bytes) === digest) return bytes;
  throw invalidArchive(`blob ${digest} has another content`);
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function layerPath(files: ArchiveFiles, name: string): string {
  const path = files.path(name);
  if (path === undefined) throw invalidArchive(`layer ${name} is missing`);
  return path;
}
