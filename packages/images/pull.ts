/**
 * docker pull: from a name to an image with all its layers.
 *
 * Order: manifest, configuration, then all layers at once; the image is committed when the last one is unpacked. Layers
 * are shared with pulls that run at the same time. A pull that fails gives back all it alone held.
 */

import { BerthError } from "#errors/errors.ts";
import type { ContentStore } from "./content-store.ts";
import type { Digest } from "./digest.ts";
import { configLimit, type ImageConfig, parseImageConfig } from "./image-config.ts";
import type { ImageName } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import type { PullRequest, ReportProgress } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { hostPlatform, type Platform, parsePlatform, platformRank, platformText } from "./platform.ts";
import { makeLayers } from "./pull-layers.ts";
import { familiarText, parseReference, type Reference, repositoryOf, withDefaultTag } from "./reference.ts";
import { type ConnectOptions, connectToPull, fetchTopManifest } from "./registry/connect.ts";
import { chooseManifest, type ImageManifest, parseManifest } from "./registry/manifest.ts";
import type { FetchedManifest, RegistrySession } from "./registry/registry-session.ts";
import { usableAuth } from "./registry/usable-auth.ts";

export interface PullDependencies {
  images: ImageStore;
  layers: LayerStore;
  content: ContentStore;
  connect: ConnectOptions;
  /** Flushes the file system of the layers. */
  flush: () => Promise<void>;
}

/** What was pulled, for the event. */
export interface Pulled {
  id: Digest;
  reference: Reference;
}

/** Throws BerthError as described at ImageService.pull. */
export async function pullImage(request: PullRequest, dependencies: PullDependencies): Promise<Pulled> {
  const named = parseReference(request.name);
  const bare = named.tag === undefined && named.digest === undefined && request.tag === "";
  if (request.allTags === true && bare) return pullAllTags(named, request, dependencies);
  const reference = pullReference(request.name, request.tag);
  const { id, fresh } = await pullOne(reference, request, dependencies);
  reportStatus(reference, fresh, request.report);
  return { id, reference };
}

/** One after the other, each as on its own, and one verdict at the end. */
async function pullAllTags(
  repository: Reference,
  request: PullRequest,
  dependencies: PullDependencies,
): Promise<Pulled> {
  const tags = await connectToPull(
    repository,
    usableAuth(request.auth),
    dependencies.connect,
    request.signal,
    (session) => session.tags(request.signal),
  );
  let id = "";
  let fresh = false;
  for (const tag of tags) {
    const pulled = await pullOne({ ...repository, tag }, request, dependencies);
    id = pulled.id;
    fresh ||= pulled.fresh;
  }
  reportStatus(repository, fresh, request.report);
  return { id, reference: repository };
}

function reportStatus(reference: Reference, fresh: boolean, report: ReportProgress): void {
  const verdict = fresh ? "Downloaded newer image for" : "Image is up to date for";
  report({ status: `Status: ${verdict} ${familiarText(reference)}` });
}

/** Answers whether the name stands for something else now than before. */
async function pullOne(
  reference: Reference,
  request: PullRequest,
  dependencies: PullDependencies,
): Promise<{ id: Digest; fresh: boolean }> {
  const { report, signal } = request;
  const platform = parsePlatform(request.platform);
  const { images } = dependencies;
  const { session, manifest: top } = await fetchTopManifest(
    reference,
    usableAuth(request.auth),
    dependencies.connect,
    signal,
  );
  report({ status: `Pulling from ${reference.path}`, id: reference.tag ?? reference.digest ?? "" });
  const { manifest, fetched } = await imageManifest(session, top, platform, reference, signal);
  const id = manifest.config.digest;
  const names = namesFor(reference, top.digest);
  const before = images.names.find(names[0] ?? { repository: "", tag: "", digest: undefined });
  const present = isWhole(images.get(id), dependencies.layers);
  if (!present) {
    await fetchImage(session, manifest, names, reference, request, dependencies);
  } else {
    for (const name of names) if (images.names.find(name) !== id) images.setName(name, id);
  }
  rememberOrigin(images, id, { manifest, fetched }, session.repository);
  const config = images.get(id)?.document;
  if (request.platform !== "" && config !== undefined)
    warnOfOtherPlatform(config, platform, reference, report);
  report({ status: `Digest: ${top.digest}` });
  return { id, fresh: before !== id || !present };
}

/** For a push: the manifest's very bytes, and where the layers' blobs are. The image may be gone again by now. */
function rememberOrigin(
  images: ImageStore,
  id: Digest,
  { manifest, fetched }: { manifest: ImageManifest; fetched: FetchedManifest },
  repository: string,
): void {
  const image = images.get(id);
  if (image === undefined) return;
  images.origins.recordManifest(id, {
    digest: fetched.digest,
    mediaType: fetched.mediaType,
    content: fetched.bytes,
  });
  for (const [index, layer] of manifest.layers.entries()) {
    const diffId = image.document.rootfs.diff_ids[index];
    if (diffId !== undefined) images.origins.recordSource(diffId, { ...layer, repository });
  }
}

/** Is the image here with all its layers? One that lost a layer is fetched like one that is not here. */
function isWhole(image: StoredImage | undefined, layers: LayerStore): boolean {
  return image !== undefined && layers.chainOf(image.topChain).every((row) => row.state === "complete");
}

/** `tag` may be a digest; `name` may already hold either, and then wins over an empty tag. */
export function pullReference(name: string, tag: string): Reference {
  const named = parseReference(name);
  if (tag === "") return withDefaultTag(named);
  const suffix = tag.includes(":") ? `@${tag}` : `:${tag}`;
  const bare = familiarText({ ...named, tag: undefined, digest: undefined });
  return parseReference(bare + suffix);
}

function namesFor(reference: Reference, manifestDigest: Digest): ImageName[] {
  const repository = repositoryOf(reference);
  const digestName = { repository, tag: undefined, digest: manifestDigest };
  if (reference.digest !== undefined) return [digestName];
  return [{ repository, tag: reference.tag, digest: undefined }, digestName];
}

/** Follows an index to the manifest of the platform. */
async function imageManifest(
  session: RegistrySession,
  top: FetchedManifest,
  platform: Platform,
  reference: Reference,
  signal: AbortSignal | undefined,
): Promise<{ manifest: ImageManifest; fetched: FetchedManifest }> {
  const name = familiarText(reference);
  const parsed = parseManifest(top.bytes, top.mediaType, name);
  if (parsed.kind === "image") return { manifest: parsed, fetched: top };
  const chosen = chooseManifest(parsed, platform, name);
  const fetched = await session.manifest(chosen.digest, signal);
  const inner = parseManifest(fetched.bytes, fetched.mediaType || chosen.mediaType, name);
  if (inner.kind === "image") return { manifest: inner, fetched };
  throw new BerthError("invalid", `invalid manifest of ${name}: an index inside an index`, {
    operation: "pull image",
    object: name,
  });
}

async function fetchImage(
  session: RegistrySession,
  manifest: ImageManifest,
  names: readonly ImageName[],
  reference: Reference,
  request: PullRequest,
  { images, layers, content, flush }: PullDependencies,
): Promise<void> {
  const name = familiarText(reference);
  const { mediaType, digest, size } = manifest.config;
  if (!isImageConfigType(mediaType)) {
    throw new BerthError("invalid", `${name} is not an image: its configuration is ${mediaType}`, {
      operation: "pull image",
      object: name,
    });
  }
  if (size > configLimit) {
    throw new BerthError("too-large", `image configuration of ${name} is larger than ${configLimit} bytes`, {
      operation: "pull image",
      object: name,
    });
  }
  const config = await session.smallBlob(digest, configLimit, request.signal);
  const document = parseImageConfig(config, name);
  checkConfig(document, manifest, name);
  await using stack = layers.hold(document.rootfs.diff_ids);
  // A pull that is cut short goes on later from what it has, so nothing is given up before the image is whole.
  const blobs = content.hold(manifest.layers.map((layer) => layer.digest));
  try {
    await makeLayers({ stack, document, manifest, session, layers, content, request });
    await flush();
    request.signal?.throwIfAborted();
    images.commit({ id: digest, config, chain: stack.chain, size: stack.size() }, names);
  } catch (error) {
    await blobs.close(error);
    throw error;
  }
  await blobs.close();
}

function isImageConfigType(mediaType: string): boolean {
  return [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream", // Docker before 1.10
    "",
  ].includes(mediaType);
}

function checkConfig(document: ImageConfig, manifest: ImageManifest, name: string): void {
  const detail = { operation: "pull image", object: name };
  if (document.rootfs.diff_ids.length !== manifest.layers.length) {
    throw new BerthError(
      "invalid",
      `invalid image ${name}: the manifest lists ${manifest.layers.length} layers, the configuration ${document.rootfs.diff_ids.length}`,
      detail,
    );
  }
  if (document.os !== "" && document.os !== hostPlatform().os) {
    throw new BerthError(
      "invalid",
      `image operating system "${document.os}" cannot be used on this platform`,
      detail,
    );
  }
}

function warnOfOtherPlatform(
  config: ImageConfig,
  wanted: Platform,
  reference: Reference,
  report: ReportProgress,
): void {
  if (platformRank(config, wanted) !== undefined) return;
  const actual = platformText({
    os: config.os,
    architecture: config.architecture,
    variant: config.variant ?? "",
  });
  report({
    status: `WARNING: image with reference ${familiarText(reference)} was found but does not match the specified platform: wanted ${platformText(wanted)}, actual: ${actual}`,
  });
}
