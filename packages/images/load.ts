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
import type { Logger } from "#errors/logger-types.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import type { StageProgress } from "#storage/staging/staging-types.ts";
import type { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { type ArchiveContent, type ArchiveLayer, invalidArchive } from "./archive-content.ts";
import { ArchiveFiles } from "./archive-files.ts";
import { type ArchivedImage, imagesOf } from "./archived-images.ts";
import { type Digest, shortId } from "./digest.ts";
import { parseImageConfig } from "./image-config.ts";
import { nameText } from "./image-names.ts";
import type { ImageStore } from "./image-store.ts";
import type { ReportProgress } from "./image-types.ts";
import type { UnpackProgress } from "./layer-directories.ts";
import type { LayerStack } from "./layer-stack.ts";
import type { LayerStore } from "./layer-store.ts";
import { hostPlatform } from "./platform.ts";
import { progressMessage, throttle } from "./progress.ts";
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
  log: Logger;
}

export interface LoadOptions {
  quiet: boolean;
  /** "linux/arm64": only that image; empty means what fits this machine, and whatever names no platform. */
  platform?: string;
  report: ReportProgress;
  signal?: AbortSignal;
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
  for await (const archived of imagesOf(content, options.platform ?? "")) {
    await loadOne(archived, adopted, options, dependencies);
    ids.push(archived.id);
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
  const { storage, unpacker, log } = dependencies;
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
    log,
  });
}

/** What is known of a layer while it comes is its name, which mostly has a digest in it. */
function progressId(name: string): string {
  const hex = /[0-9a-f]{64}/.exec(name)?.[0];
  return hex === undefined ? name.slice(0, 12) : hex.slice(0, 12);
}

async function loadOne(
  archived: ArchivedImage,
  adopted: Map<string, string>,
  options: LoadOptions,
  dependencies: LoadDependencies,
): Promise<void> {
  const { report, signal } = options;
  const { images, layers, flush } = dependencies;
  const { id, config, names } = archived;
  const document = parseImageConfig(config, id);
  const diffIds = document.rootfs.diff_ids;
  if (diffIds.length !== archived.layers.length) {
    throw invalidArchive(`layers length mismatch: expected ${diffIds.length}, got ${archived.layers.length}`);
  }
  if (document.os !== "" && document.os !== hostPlatform().os) {
    throw new BerthError("invalid", `cannot load ${document.os} image on ${hostPlatform().os}`, {
      operation: "load image",
      object: id,
    });
  }
  for (const [index, layer] of archived.layers.entries()) checkDiffId(layer, diffIds[index] ?? "", index);
  await using stack = layers.hold(diffIds);
  await fillLayers(archived.layers, diffIds, stack, adopted, options, dependencies);
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
