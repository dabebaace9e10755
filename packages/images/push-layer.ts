/**
 * One layer on its way to a registry: found there, taken over from another repository, or sent.
 *
 * Clients that push the same layer to the same place share one upload, which ends early only when none of them waits for it.
 * Nothing is written to the disk. Throws BerthError.
 */

import { BerthError } from "#errors/errors.ts";
import { type Digest, shortId } from "./digest.ts";
import type { LayerSource } from "./image-origins.ts";
import type { ImageStore } from "./image-store.ts";
import type { ReportProgress } from "./image-types.ts";
import type { LayerRow } from "./layer-rows.ts";
import { progressMessage, statusMessage, throttle } from "./progress.ts";
import { delayFor, isTransientStatus, pause } from "./registry/back-off.ts";
import type { BlobResult } from "./registry/blob-messages.ts";
import type { BlobTransfer } from "./registry/blob-transfer.ts";
import type { LayerBytes } from "./registry/layer-bytes.ts";
import { type Descriptor, layerType, type ManifestFormat } from "./registry/manifest.ts";
import type { PushSession } from "./registry/push-session.ts";
import type { SharedWork } from "./shared-work.ts";
import type { Slots } from "./slots.ts";

export type PushedLayer = Descriptor;

type PushProgress =
  | { phase: "waiting" }
  | { phase: "pushing"; current: number; total: number }
  | { phase: "retrying"; seconds: number };

/** What became of a layer: where it was, or that it was sent. */
interface Outcome extends PushedLayer {
  how: { status: "Layer already exists" } | { status: "Mounted from"; from: string } | { status: "Pushed" };
}

export interface UploadDependencies {
  images: ImageStore;
  transfer: BlobTransfer;
  uploads: SharedWork<PushProgress, Outcome>;
  slots: Slots;
  /** Where a layer's archive is had from, by its cache id. */
  layerBytes: (cacheId: string) => LayerBytes;
  /** Its files are within reach until disposed. */
  holdLayer: (cacheId: string) => Promise<AsyncDisposable>;
}

export type Uploads = UploadDependencies["uploads"];

interface LayerPush {
  diffId: Digest;
  row: LayerRow | undefined;
  session: PushSession;
  format: ManifestFormat;
  /** Blobs that the image came by: any of them keeps its manifest's digest. */
  preferred: Digest[];
  report: ReportProgress;
  signal: AbortSignal;
}

/** Places outside the repository that are asked about for one layer: each costs a request, sending costs the layer. */
const askedElsewhere = 4;
/** The media type of what `gzipped` makes. */
const sentType = "application/vnd.docker.image.rootfs.diff.tar.gzip";

export async function pushLayer(task: LayerPush, dependencies: UploadDependencies): Promise<PushedLayer> {
  const { diffId, session, report, signal } = task;
  const id = shortId(diffId);
  const pushing = throttle((current, total) => report(progressMessage(id, "Pushing", current, total)));
  const { how, ...layer } = await dependencies.uploads.join(
    `${session.shareKey} ${diffId} ${task.format}`,
    (tell, workSignal) => makePresent(task, dependencies, tell, workSignal),
    {
      report: (progress) => {
        if (progress.phase === "waiting") report(statusMessage(id, "Waiting"));
        else if (progress.phase === "pushing") pushing(progress.current, progress.total);
        else report(statusMessage(id, retryingText(progress.seconds)));
      },
      signal,
    },
  );
  report(statusMessage(id, how.status === "Mounted from" ? `Mounted from ${how.from}` : how.status));
  return layer;
}

function retryingText(seconds: number): string {
  return `Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`;
}

async function makePresent(
  task: LayerPush,
  dependencies: UploadDependencies,
  tell: (progress: PushProgress) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  if (dependencies.slots.full) tell({ phase: "waiting" });
  using _slot = await dependencies.slots.take(signal);
  return (await find(task, dependencies.images, signal)) ?? (await send(task, dependencies, tell, signal));
}

/** Looks for the layer at the registry under the digests it is known by. */
async function find(
  { diffId, session, format, preferred }: LayerPush,
  images: ImageStore,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const sources = images.origins
    .sourcesOf(diffId)
    .filter(({ mediaType }) => layerType(mediaType, format) !== undefined)
    .sort((a, b) => Number(preferred.includes(b.digest)) - Number(preferred.includes(a.digest)));
  const asked = new Set<Digest>();
  const ask = async (source: LayerSource): Promise<Outcome | undefined> => {
    asked.add(source.digest);
    if (!(await session.hasBlob(source.digest, signal))) return undefined;
    return { ...described(source), how: { status: "Layer already exists" } };
  };
  for (const source of sources.filter(({ repository }) => repository === session.repository)) {
    const found = await ask(source);
    if (found !== undefined) return found;
    images.origins.forgetSource(diffId, source.repository, source.digest);
  }
  const elsewhere = sources
    .filter(({ repository }) => repository !== session.repository)
    .slice(0, askedElsewhere);
  for (const source of elsewhere) {
    const found = asked.has(source.digest) ? undefined : await ask(source);
    if (found !== undefined) return found;
    const from = pathWithin(source.repository, session.repository);
    if (from !== undefined && (await session.mount(source.digest, from, signal))) {
      return { ...described(source), how: { status: "Mounted from", from } };
    }
  }
  return undefined;
}

function described({ digest, size, mediaType }: LayerSource): PushedLayer {
  return { digest, size, mediaType };
}

/** "team/thing" of "host/team/thing", if that is at the same registry as `other`. */
function pathWithin(repository: string, other: string): string | undefined {
  const slash = repository.indexOf("/");
  return repository.slice(0, slash) === other.slice(0, other.indexOf("/"))
    ? repository.slice(slash + 1)
    : undefined;
}

async function send(
  task: LayerPush,
  dependencies: UploadDependencies,
  tell: (progress: PushProgress) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const { diffId, row, session } = task;
  if (row === undefined) throw new Error(`layer ${diffId} is pushed without being held`);
  await using _held = await dependencies.holdLayer(row.cache_id);
  const bytes = dependencies.layerBytes(row.cache_id);
  const total = row.size;
  let challenged = false;
  for (let attempt = 1; ; attempt++) {
    const location = await session.begin(signal);
    tell({ phase: "pushing", current: 0, total });
    const address = session.uploadAddress(location);
    const result = await dependencies.transfer.send(
      { ...address, bytes, diffId },
      (current) => tell({ phase: "pushing", current, total }),
      signal,
    );
    if (result.outcome === "sent") {
      await session.commit(result.location, result.digest, signal);
      return { digest: result.digest, size: result.size, mediaType: sentType, how: { status: "Pushed" } };
    }
    await session.abandon(location);
    signal.throwIfAborted();
    if (result.outcome === "refused" && result.status === 401 && !challenged) {
      challenged = true;
      const used = address.headers.authorization;
      if (await session.reauthorize(result.wwwAuthenticate, signal, used)) {
        attempt--;
        continue;
      }
    }
    if (!isWorthRepeating(result) || attempt >= session.attempts) throw sendError(result, task);
    const retryAfter = result.outcome === "refused" ? result.retryAfter : undefined;
    const wait = delayFor(attempt, retryAfter, session.delay);
    tell({ phase: "retrying", seconds: Math.ceil(wait / 1000) });
    await pause(wait, signal);
  }
}

function isWorthRepeating(result: BlobResult): boolean {
  return result.outcome === "network" || (result.outcome === "refused" && isTransientStatus(result.status));
}

function sendError(result: BlobResult, { session, diffId }: LayerPush): BerthError {
  const detail = { operation: "push layer", object: diffId };
  switch (result.outcome) {
    case "refused":
      return session.blobError(result.status, result.wwwAuthenticate, result.body);
    case "source":
      return new BerthError("internal", `layer ${diffId} cannot be read: ${result.message}`, {
        ...detail,
        hint: "its files were changed or are damaged; remove the image, and pull or load it again",
      });
    case "network":
    case "disk":
      return new BerthError("internal", result.message, detail);
    default:
      return new BerthError("internal", `upload of ${diffId} ended: ${result.outcome}`, detail);
  }
}
