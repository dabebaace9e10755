/**
 * docker save: images, with the names they were asked by, as one archive.
 *
 * Layers are held until the archive is written or given up. Their archives are written again by a storage worker, to the
 * client's connection itself: nothing of them passes through here.
 */
import { access } from "node:fs/promises";
import { BerthError } from "#errors/errors.ts";
import type { Framing } from "#kernel/descriptor-output.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import type { StoredLayer } from "#storage/layout/replay-layer.ts";
import type { ArchivePiece } from "#storage/layout/write-archive.ts";
import type { StorageWorkers } from "#storage/worker/storage-workers.ts";
import type { Digest } from "./digest.ts";
import { type ImageName, nameText } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import type { LayerStack } from "./layer-stack.ts";
import type { LayerStore } from "./layer-store.ts";
import { repositoryOf, tryParseReference } from "./reference.ts";
import { checkPlatform, resolveImage } from "./resolve-image.ts";
import { type SavedImage, type SavedLayer, savedParts } from "./save-format.ts";

export interface SaveRequest {
  /** Names (with a tag: that one; without: all tags of the repository), ids, digests. */
  names: readonly string[];
  /** "linux/amd64": images must be for it; empty means any. */
  platform: string;
}

export interface SaveDependencies {
  images: ImageStore;
  layers: LayerStore;
  storage: StorageDriver;
  workers: StorageWorkers;
}

/** Where an archive is written to; the descriptor stays its owner's. */
export interface ArchiveSink {
  fd: number;
  framing: Framing;
}

/** All that is needed is there and held, until disposed. */
export interface OutgoingImages extends AsyncDisposable {
  ids: Digest[];
  /** Once. Rejects with an AbortError when the reader is gone. */
  write(sink: ArchiveSink, signal: AbortSignal): Promise<void>;
}

/** An image and the names it is saved under. */
interface Chosen {
  image: StoredImage;
  names: ImageName[];
}

/** Finds and holds everything. Throws not-found, and "conflict" for layers that cannot be written again. */
export async function saveImages(
  request: SaveRequest,
  dependencies: SaveDependencies,
): Promise<OutgoingImages> {
  const { images, layers, storage, workers } = dependencies;
  const chosen = choose(request, images);
  await using undo = new AsyncDisposableStack();
  const found: FoundLayer[] = [];
  for (const { image } of chosen) {
    const stack = undo.use(layers.hold(image.document.rootfs.diff_ids));
    found.push(...layersOf(image, stack, dependencies));
  }
  undo.use(await holdLayers(storage, "content", ...new Set(found.map(({ cacheId }) => cacheId))));
  for (const layer of found) await checkPresent(layer);
  const stored = new Map(found.map(({ diffId, layer }) => [diffId, layer]));
  const sizes = await layerSizes(stored, workers);
  const parts = savedParts(chosen.map((one) => savedImage(one, sizes, images)));
  const pieces = parts.map((part): ArchivePiece => {
    return "diffId" in part ? (stored.get(part.diffId) as StoredLayer) : part;
  });
  const held = undo.move();
  return {
    ids: chosen.map(({ image }) => image.id),
    async write(sink, signal) {
      await workers.run({ kind: "archive", task: { pieces, sink } }, { signal });
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

interface FoundLayer {
  image: StoredImage;
  diffId: Digest;
  cacheId: string;
  layer: StoredLayer;
}

/** Somebody may have deleted it under us: then the archive must not begin. */
async function checkPresent({ image, diffId, layer }: FoundLayer): Promise<void> {
  await access(layer.directory).catch(() => {
    throw notThere(image, diffId);
  });
}

function choose({ names, platform }: SaveRequest, images: ImageStore): Chosen[] {
  const chosen = new Map<Digest, Chosen>();
  for (const text of names) {
    for (const { image, name } of meant(text, images)) {
      checkPlatform(text, image, platform, "save image");
      const known = chosen.get(image.id) ?? { image, names: [] };
      chosen.set(image.id, known);
      if (name !== undefined && !known.names.some((one) => nameText(one) === nameText(name))) {
        known.names.push(name);
      }
    }
  }
  return [...chosen.values()];
}

function meant(text: string, images: ImageStore): { image: StoredImage; name?: ImageName }[] {
  const reference = text.startsWith("sha256:") ? undefined : tryParseReference(text);
  if (reference !== undefined && reference.digest === undefined) {
    const repository = repositoryOf(reference);
    const tags = images.names.in(repository).filter(({ tag }) => (reference.tag ?? tag) === tag);
    const found = tags.flatMap(({ tag, id }) => {
      const image = images.get(id);
      return image === undefined ? [] : [{ image, name: { repository, tag, digest: undefined } }];
    });
    if (found.length > 0) return found;
    if (reference.tag !== undefined) {
      throw new BerthError("not-found", "reference does not exist", {
        operation: "save image",
        object: text,
      });
    }
  }
  // By digest or id: there is no tag to write down.
  return [{ image: resolveById(text, images) }];
}

function resolveById(text: string, images: ImageStore): StoredImage {
  try {
    return resolveImage(text, images);
  } catch (error) {
    if (!(error instanceof BerthError) || error.code !== "not-found") throw error;
    // With the name as it was asked, as Docker tells it here.
    throw new BerthError("not-found", `No such image: ${text}`, {
      operation: "save image",
      object: text,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

function layersOf(
  image: StoredImage,
  stack: LayerStack,
  { layers, storage }: SaveDependencies,
): FoundLayer[] {
  const diffIds = image.document.rootfs.diff_ids;
  const missing = stack.missing()[0];
  if (missing !== undefined) throw notThere(image, diffIds[missing] ?? "");
  return stack.chain.map((chainId, index) => {
    const cacheId = layers.row(chainId)?.cache_id;
    if (cacheId === undefined) throw notThere(image, diffIds[index] ?? "");
    const layer = { directory: storage.diffPath(cacheId), layout: storage.layoutPath(cacheId) };
    return { image, diffId: diffIds[index] ?? "", cacheId, layer };
  });
}

function notThere(image: StoredImage, diffId: Digest): BerthError {
  return new BerthError("conflict", `layer ${diffId} of image ${image.id} is not there`, {
    operation: "save image",
    object: image.id,
    hint: "pull or load the image again",
  });
}

async function layerSizes(
  stored: ReadonlyMap<Digest, StoredLayer>,
  workers: StorageWorkers,
): Promise<Map<Digest, SavedLayer>> {
  const layouts = [...stored.values()].map(({ layout }) => layout);
  const found = (await workers.run({ kind: "layouts", layouts })) as SavedLayer[];
  return new Map(
    [...stored.keys()].map((diffId, index) => [diffId, { diffId, size: found[index]?.size ?? 0 }]),
  );
}

function savedImage(
  { image, names }: Chosen,
  sizes: ReadonlyMap<Digest, SavedLayer>,
  images: ImageStore,
): SavedImage {
  return {
    id: image.id,
    config: images.configOf(image.id),
    architecture: image.architecture,
    os: image.os,
    layers: image.document.rootfs.diff_ids.map((diffId) => sizes.get(diffId) as SavedLayer),
    names,
  };
}
