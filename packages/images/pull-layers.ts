/**
 * The layers of a pull: fetched and unpacked side by side, told in Docker's lines.
 *
 * Joins whoever is at the same layer already. Does not commit anything.
 */
import type { ContentStore, TransferProgress } from "./content-store.ts";
import { shortId } from "./digest.ts";
import type { ImageConfig } from "./image-config.ts";
import type { PullRequest, ReportProgress } from "./image-types.ts";
import type { UnpackProgress } from "./layer-directories.ts";
import type { LayerStack } from "./layer-stack.ts";
import type { LayerStore } from "./layer-store.ts";
import { progressMessage, statusMessage, throttle } from "./progress.ts";
import type { Descriptor, ImageManifest } from "./registry/manifest.ts";
import type { RegistrySession } from "./registry/registry-session.ts";

/** The layers of one image to be pulled. */
export interface LayerTask {
  stack: LayerStack;
  document: ImageConfig;
  manifest: ImageManifest;
  session: RegistrySession;
  layers: LayerStore;
  content: ContentStore;
  request: PullRequest;
}

/** All missing layers at once. The first failure stops the others; returns or throws when none is at work any more. */
export async function makeLayers(task: LayerTask): Promise<void> {
  const { stack, manifest, request } = task;
  const missing = new Set(stack.missing());
  for (const [index, layer] of manifest.layers.entries()) {
    request.report(
      statusMessage(shortId(layer.digest), missing.has(index) ? "Pulling fs layer" : "Already exists"),
    );
  }
  const stop = new AbortController();
  const signal = request.signal === undefined ? stop.signal : AbortSignal.any([request.signal, stop.signal]);
  const results = await Promise.allSettled(
    [...missing].map(async (index) => {
      try {
        await makeLayer(task, index, signal);
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    }),
  );
  request.signal?.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function makeLayer(task: LayerTask, index: number, signal: AbortSignal): Promise<void> {
  const { stack, manifest, session, layers, content, request } = task;
  const layer = manifest.layers[index] as Descriptor;
  const chainId = stack.chain[index] ?? "";
  await layers.make<TransferProgress>(
    chainId,
    (report, workSignal) => content.fetch(layer, session, { report, signal: workSignal }),
    { report: layerReporter(shortId(layer.digest), request.report), signal },
  );
  request.report(statusMessage(shortId(layer.digest), "Pull complete"));
}

/** Turns what happens to a layer into Docker's lines. */
function layerReporter(
  id: string,
  report: ReportProgress,
): (progress: TransferProgress | UnpackProgress) => void {
  const downloading = throttle((current, total) =>
    report(progressMessage(id, "Downloading", current, total)),
  );
  const extracting = throttle((current, total) => report(progressMessage(id, "Extracting", current, total)));
  return (progress) => {
    switch (progress.phase) {
      case "waiting":
        return report(statusMessage(id, "Waiting"));
      case "downloading":
        return downloading(progress.current, progress.total, progress.current === progress.total);
      case "retrying":
        return report(
          statusMessage(id, `Retrying in ${progress.seconds} second${progress.seconds === 1 ? "" : "s"}`),
        );
      case "verifying":
        return report(statusMessage(id, "Verifying Checksum"));
      case "downloaded":
        return report(statusMessage(id, "Download complete"));
      case "extracting":
        return extracting(progress.current, progress.total, progress.current === progress.total);
      case "unpacked":
        return undefined; // "Pull complete" follows
    }
  };
}
