/**
 * docker load: images from an archive, in Docker's own format or as an OCI layout.
 *
 * The archive is taken in first: its layers unpacked as they come where the driver can, else as files in a directory that is
 * gone again at the end. Then each image is committed by itself: one that is broken does not take back those before it.
 */

import { randomUUID } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { BerthError } from "#errors/errors.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import type { StageProgress } from "#storage/staging/staging-types.ts";
import type { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { type ArchiveContent, type ArchiveLayer, invalidArchive, readJson } from "./archive-content.ts";
import { ArchiveFiles } from "./archive-files.ts";
import { type Digest, digestOf, hexOf, shortId } from "./digest.ts";
import { configLimit, parseImageConfig } from "./image-config.ts";
import { type ImageName, imageName, nameText } from "./image-names.ts";
import type { ImageStore } from "./image-store.ts";
import type { ReportProgress } from "./image-types.ts";
import type { UnpackProgress } from "./layer-directories.ts";
import type { LayerStack } from "./layer-stack.ts";
import type { LayerStore } from "./layer-store.ts";
import { hostPlatform, parsePlatform, platformRank, platformText } from "./platform.ts";
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
import { StagedFiles } from "./staged-files.ts";

export interface LoadDependencies {
  images: ImageStore;
  layers: LayerStore;
  /** Where archives are taken apart; beneath the data root, so that sizes are limited by its disk. */
  scratch: string;
  flush: () => Promise<void>;
  /** Begins with what is there so far. */
  flushSoon: () => void;
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  /** Where an archive of its layers is written again. */
  workers: StorageWorkers;
}

export interface LoadOptions {
  quiet: boolean;
  /** "linux/arm64": only that image; empty means what fits this machine, and whatever names no platform. */
  platform?: string;
  report: ReportProgress;
  signal?: AbortSignal;
}

/** One image of an archive. */
interface Candidate {
  config: Buffer;
  id: Digest;
  /** Lowest first. */
  layers: ArchiveLayer[];
  names: ImageName[];
}

/** Answers the ids loaded. Throws BerthError; what was loaded before the failure stays. */
export async function loadImages(
  archive: Readable,
  options: LoadOptions,
  dependencies: LoadDependencies,
): Promise<Digest[]> {
  await using content = await takeIn(archive, options, dependencies);
  /** Stages that became layers, by key: cache ids. */
  const adopted = new Map<string, string>();
  const ids: Digest[] = [];
  for await (const candidate of candidates(content, options.platform ?? "")) {
    await loadOne(candidate, adopted, options, dependencies);
    ids.push(candidate.id);
  }
  return ids;
}

async function takeIn(
  archive: Readable,
  { quiet, report, signal }: LoadOptions,
  dependencies: LoadDependencies,
): Promise<ArchiveContent> {
  if (!StagedFiles.isPossible(dependencies)) {
    return await ArchiveFiles.extract(archive, join(dependencies.scratch, randomUUID()), signal);
  }
  const { storage, unpacker } = dependencies;
  const reporters = new Map<string, ReturnType<typeof throttle>>();
  const reportLayer = ({ name, current, total }: StageProgress) => {
    const id = progressId(name);
    let reporter = reporters.get(name);
    if (reporter === undefined) {
      reporter = throttle((at, of) => report(progressMessage(id, "Loading layer", at, of)));
      reporters.set(name, reporter);
    }
    reporter(current, total, current === total);
  };
  return await StagedFiles.receive(archive, {
    storage,
    unpacker,
    report: (progress) => {
      // The disk writes one layer while the next one comes.
      if (progress.current === progress.total) dependencies.flushSoon();
      if (!quiet) reportLayer(progress);
    },
    signal,
  });
}

/** What is known of a layer while it comes is its name, which mostly has a digest in it. */
function progressId(name: string): string {
  const hex = /[0-9a-f]{64}/.exec(name)?.[0];
  return hex === undefined ? name.slice(0, 12) : hex.slice(0, 12);
}

function candidates(content: ArchiveContent, platform: string): AsyncGenerator<Candidate> {
  // Docker 25 and later write both; the older description names every tag.
  if (content.has("manifest.json")) return dockerArchive(content, platform);
  if (content.has("index.json")) return ociLayout(content, platform);
  throw invalidArchive("does not contain a manifest.json");
}

async function loadOne(
  candidate: Candidate,
  adopted: Map<string, string>,
  options: LoadOptions,
  dependencies: LoadDependencies,
): Promise<void> {
  const { report, signal } = options;
  const { images, layers, flush } = dependencies;
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
  for (const [index, layer] of candidate.layers.entries()) checkDiffId(layer, diffIds[index] ?? "", index);
  await using stack = layers.hold(diffIds);
  await fillLayers(candidate.layers, diffIds, stack, adopted, options, dependencies);
  signal?.throwIfAborted();
  await flush();
  const displaced = names.map((name) => ({ name, old: images.names.find(name) }));
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

function checkDiffId(layer: ArchiveLayer, expected: Digest, index: number): void {
  if ("path" in layer || layer.diffId === expected) return;
  throw invalidArchive(`invalid diffID for layer ${index}: expected "${expected}", got "${layer.diffId}"`);
}

/** Makes what is not there yet: what was unpacked in order, lowest first; from files, all at once. */
async function fillLayers(
  given: readonly ArchiveLayer[],
  diffIds: readonly Digest[],
  stack: LayerStack,
  adopted: Map<string, string>,
  { quiet, report, signal }: LoadOptions,
  dependencies: LoadDependencies,
): Promise<void> {
  const { layers } = dependencies;
  const files: Promise<void>[] = [];
  for (const index of stack.missing()) {
    const chainId = stack.chain[index] ?? "";
    const layer = given[index];
    if (layer === undefined) continue;
    if ("path" in layer) {
      const id = shortId(diffIds[index] ?? "");
      const reporter = quiet ? () => {} : layerReporter(id, report);
      files.push(layers.make<never>(chainId, async () => layer, { report: reporter, signal }));
      continue;
    }
    const twin = adopted.get(layer.key);
    if (twin === undefined) {
      if (await layers.adopt(chainId, layer, signal))
        adopted.set(layer.key, layers.row(chainId)?.cache_id ?? "");
    } else {
      // The same layer on another one below: its archive is written again.
      const provide = () => replayedFile(twin, dependencies);
      await layers.make<never>(chainId, provide, { report: () => {}, signal });
    }
  }
  const made = await Promise.allSettled(files);
  for (const result of made) if (result.status === "rejected") throw result.reason;
}

/** The archive of a stored layer as a file, removed when disposed. */
async function replayedFile(
  cacheId: string,
  { scratch, storage, workers }: LoadDependencies,
): Promise<{ path: string } & AsyncDisposable> {
  const path = join(scratch, randomUUID());
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const dispose = () => rm(path, { force: true });
  try {
    await using file = await open(path, "wx", 0o600);
    await using _held = await holdLayers(storage, "content", cacheId);
    const layer = { directory: storage.diffPath(cacheId), layout: storage.layoutPath(cacheId) };
    await workers.run({
      kind: "archive",
      task: { pieces: [layer], sink: { fd: file.fd, framing: "plain" } },
    });
    return { path, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
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
async function* dockerArchive(content: ArchiveContent, platform: string): AsyncGenerator<Candidate> {
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
async function* ociLayout(content: ArchiveContent, platform: string): AsyncGenerator<Candidate> {
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
