/**
 * docker push: an image's layers, its configuration, then its manifest under each tag.
 *
 * A manifest that the image came by is sent again byte for byte if the registry has, or can take over, all its blobs: its digest
 * then stays. Otherwise one is written in the form the image came in, Docker's where it came in none. A push that fails
 * leaves no tag behind; blobs that arrived may stay with the registry, unreferenced.
 */

import { BerthError } from "#errors/errors.ts";
import type { Digest } from "./digest.ts";
import { shortId } from "./digest.ts";
import type { StoredManifest } from "./image-origins.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import type { PushRequest } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { parsePlatform, platformRank, platformText } from "./platform.ts";
import { statusMessage } from "./progress.ts";
import { type PushedLayer, pushLayer, type UploadDependencies } from "./push-layer.ts";
import {
  familiarRepository,
  familiarText,
  parseReference,
  parseTag,
  type Reference,
  repositoryOf,
} from "./reference.ts";
import { type ConnectOptions, connectToPush } from "./registry/connect.ts";
import {
  type Descriptor,
  formatOf,
  layerType,
  type ManifestFormat,
  parseManifest,
  writeManifest,
} from "./registry/manifest.ts";
import type { PushSession } from "./registry/push-session.ts";
import { usableAuth } from "./registry/usable-auth.ts";

export interface PushDependencies extends UploadDependencies {
  images: ImageStore;
  layers: LayerStore;
  connect: ConnectOptions;
}

/** Pushes one tag, or all tags of the repository where none is given. Answers what was pushed, for the event. */
export async function pushImages(
  request: PushRequest,
  dependencies: PushDependencies,
): Promise<{ reference: Reference; id: Digest }> {
  const { report, signal } = request;
  const repository = pushReference(request.name, request.tag);
  const { images } = dependencies;
  report({ status: `The push refers to repository [${repositoryOf(repository)}]` });
  const chosen = chooseTags(repository, request.platform, images);
  const session = await connectToPush(repository, usableAuth(request.auth), dependencies.connect, signal);
  for (const { tag, image } of chosen) {
    await pushTag({ ...repository, tag }, image, session, request, dependencies);
  }
  return { reference: repository, id: chosen.at(-1)?.image.id ?? "" };
}

function pushReference(name: string, tag: string): Reference {
  const reference = parseReference(name);
  if (reference.digest !== undefined) {
    throw new BerthError("invalid", "cannot push a digest reference", {
      operation: "push image",
      object: name,
    });
  }
  return tag === "" ? reference : { ...reference, tag: parseTag(tag) };
}

function chooseTags(
  reference: Reference,
  platform: string,
  images: ImageStore,
): { tag: string; image: StoredImage }[] {
  const name = familiarRepository(repositoryOf(reference));
  const known = images.names.in(repositoryOf(reference));
  const refuse = (message: string) =>
    new BerthError("not-found", message, { operation: "push image", object: familiarText(reference) });
  if (known.length === 0) throw refuse(`An image does not exist locally with the tag: ${name}`);
  const wanted = known.filter(({ tag }) => reference.tag === undefined || tag === reference.tag);
  if (wanted.length === 0) throw refuse(`tag does not exist: ${familiarText(reference)}`);
  return wanted.flatMap(({ tag, id }) => {
    const image = images.get(id);
    if (image === undefined) return [];
    if (platform !== "" && platformRank(image.document, parsePlatform(platform)) === undefined) {
      throw refuse(
        `image with reference ${name}:${tag} was found but does not provide the specified platform (${platformText(parsePlatform(platform))})`,
      );
    }
    return [{ tag, image }];
  });
}

async function pushTag(
  reference: Reference & { tag: string },
  image: StoredImage,
  session: PushSession,
  request: PushRequest,
  dependencies: PushDependencies,
): Promise<void> {
  const { images, layers } = dependencies;
  const { report, signal } = request;
  const diffIds = image.document.rootfs.diff_ids;
  await using stack = layers.hold(diffIds);
  const missing = stack.missing()[0];
  if (missing !== undefined) {
    throw new BerthError("conflict", `layer ${diffIds[missing]} of ${familiarText(reference)} is not there`, {
      operation: "push image",
      object: familiarText(reference),
      hint: "pull or load the image again",
    });
  }
  const originals = images.origins.manifestsOf(image.id);
  const format = formatOf(originals[0]?.mediaType ?? "");
  // Topmost first, as Docker lists them.
  for (const diffId of diffIds.toReversed()) report(statusMessage(shortId(diffId), "Preparing"));
  const pushed = await allOrNone(diffIds, signal, (diffId, index, layerSignal) =>
    pushLayer(
      {
        diffId,
        row: layers.row(stack.chain[index] ?? ""),
        session,
        format,
        preferred: originals.flatMap((manifest) => layersOf(manifest)[index]?.digest ?? []),
        report,
        signal: layerSignal,
      },
      dependencies,
    ),
  );
  const config = images.configOf(image.id);
  await session.putSmallBlob(config, signal);
  const { mediaType, content } =
    originals.find((manifest) => isMadeOf(manifest, image.id, pushed)) ??
    newManifest(format, { digest: image.id, size: config.length }, pushed);
  const digest = await session.putManifest(reference.tag, mediaType, content, signal);
  for (const [index, layer] of pushed.entries()) {
    images.origins.recordSource(diffIds[index] ?? "", { ...layer, repository: session.repository });
  }
  if (images.get(image.id) !== undefined) {
    images.origins.recordManifest(image.id, { digest, mediaType, content });
    images.setName({ repository: session.repository, tag: undefined, digest }, image.id);
  }
  report({ status: `${reference.tag}: digest: ${digest} size: ${content.length}` });
  report({ progressDetail: {}, aux: { Tag: reference.tag, Digest: digest, Size: content.length } });
}

/** All at once; the first failure stops the others. Returns or throws when none is at work any more. */
async function allOrNone<Item, Result>(
  items: readonly Item[],
  signal: AbortSignal | undefined,
  work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const results = await Promise.allSettled(
    items.map(async (item, index) => {
      try {
        return await work(item, index, both);
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    }),
  );
  signal?.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  return results.map((result) => (result as PromiseFulfilledResult<Result>).value);
}

function layersOf({ content, mediaType }: StoredManifest): Descriptor[] {
  const parsed = parseManifest(content, mediaType, "stored");
  return parsed.kind === "image" ? parsed.layers : [];
}

/** Would this manifest find all it names at the registry? */
function isMadeOf(manifest: StoredManifest, id: Digest, pushed: readonly PushedLayer[]): boolean {
  const parsed = parseManifest(manifest.content, manifest.mediaType, "stored");
  return (
    parsed.kind === "image" &&
    parsed.config.digest === id &&
    parsed.layers.length === pushed.length &&
    parsed.layers.every((layer, index) => layer.digest === pushed[index]?.digest)
  );
}

function newManifest(
  format: ManifestFormat,
  config: { digest: Digest; size: number },
  pushed: readonly PushedLayer[],
): { mediaType: string; content: Buffer } {
  const layers = pushed.map(({ digest, size, mediaType }) => ({
    digest,
    size,
    mediaType: layerType(mediaType, format) ?? mediaType,
  }));
  return writeManifest(format, config, layers);
}
