/**
 * What users see of images: `docker images`, `docker inspect`, `docker history`.
 */

import type { ImageHistoryItem, ImageInspect, ImageSummary } from "#api-types/image.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { chainIds, type Digest } from "./digest.ts";
import { type ImageName, nameText } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import type { ImageListFilters } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { createdAt, imageFilter } from "./list-filters.ts";

/** Go's zero time, which Docker shows where there is none. */
const noTime = "0001-01-01T00:00:00Z";

/** Newest first. Images that are only a step of another one's build are left out unless `all`. */
export function listImages(
  options: ImageListFilters,
  images: ImageStore,
  layers: LayerStore,
): ImageSummary[] {
  const filter = imageFilter(options.filters, images);
  const listed: { image: StoredImage; summary: ImageSummary }[] = [];
  for (const image of images.all()) {
    const names = images.names.of(image.id);
    if (!options.all && names.length === 0 && images.children(image.id) > 0) continue;
    const shown = filter(image, names);
    if (shown === undefined) continue;
    const summary = summarize(image, shown);
    if (options.containers !== undefined) summary.Containers = options.containers(image.id);
    listed.push({ image, summary });
  }
  if (options.sharedSize === true) addSharedSizes(listed, layers);
  return listed.map(({ summary }) => summary).sort((a, b) => b.Created - a.Created || (a.Id < b.Id ? -1 : 1));
}

/** Bytes of the layers that at least one other of the listed images has too. */
function addSharedSizes(
  listed: readonly { image: StoredImage; summary: ImageSummary }[],
  layers: LayerStore,
): void {
  const sizes = layers.sizes();
  const uses = new Map<Digest, number>();
  const chains = listed.map(({ image }) => chainIds(image.document.rootfs.diff_ids));
  for (const chainId of chains.flat()) uses.set(chainId, (uses.get(chainId) ?? 0) + 1);
  for (const [index, { summary }] of listed.entries()) {
    const shared = (chains[index] ?? []).filter((chainId) => (uses.get(chainId) ?? 0) > 1);
    summary.SharedSize = shared.reduce((sum, chainId) => sum + (sizes.get(chainId) ?? 0), 0);
  }
}

function summarize(image: StoredImage, names: ImageName[]): ImageSummary {
  return {
    Id: image.id,
    ParentId: image.parent ?? "",
    RepoTags: tagsOf(names),
    RepoDigests: digestsOf(names),
    Created: Math.floor(createdAt(image) / 1000),
    Size: image.size,
    SharedSize: -1,
    Labels: image.config.Labels ?? null,
    Containers: -1,
  };
}

/** `docker image inspect`. */
export async function inspectImage(
  image: StoredImage,
  images: ImageStore,
  storage: StorageDriver,
): Promise<ImageInspect> {
  const { document } = image;
  const names = images.names.of(image.id);
  return {
    Id: image.id,
    RepoTags: tagsOf(names),
    RepoDigests: digestsOf(names),
    Parent: image.parent ?? "",
    Comment: lastComment(image),
    ...(document.created ? { Created: goTime(document.created) } : {}),
    ...(document.container ? { Container: document.container } : {}),
    ...(document.container_config ? { ContainerConfig: document.container_config } : {}),
    DockerVersion: document.docker_version ?? "",
    Author: document.author ?? "",
    Config: document.unconfigured === true ? null : document.config,
    Architecture: document.architecture,
    ...(document.variant ? { Variant: document.variant } : {}),
    Os: document.os,
    ...(document["os.version"] ? { OsVersion: document["os.version"] } : {}),
    Size: image.size,
    GraphDriver: {
      Name: storage.name,
      Data: image.topLayer === undefined ? {} : await storage.metadata(image.topLayer),
    },
    RootFS: { Type: "layers", Layers: document.rootfs.diff_ids },
    Metadata: { LastTagTime: image.lastTagged ?? noTime },
  };
}

/** `docker history`, topmost first. */
export function imageHistory(image: StoredImage, images: ImageStore, layers: LayerStore): ImageHistoryItem[] {
  const rows = layers.chainOf(image.topChain);
  let layer = 0;
  const items = image.document.history.map((item) => ({
    Id: "<missing>",
    Created: Math.floor(createdAt({ created: item.created ?? "" }) / 1000),
    CreatedBy: item.created_by ?? "",
    Tags: null as string[] | null,
    Size: item.empty_layer === true ? 0 : (rows[layer++]?.size ?? 0),
    Comment: item.comment ?? "",
  }));
  items.reverse();
  // Each step below an image that was made here is its parent, for as far as that is known.
  let owner: StoredImage | undefined = image;
  for (const item of items) {
    if (owner === undefined) break;
    item.Id = owner.id;
    const tags = tagsOf(images.names.of(owner.id));
    item.Tags = tags.length === 0 ? null : tags;
    owner = owner.parent === null ? undefined : images.get(owner.parent);
  }
  return items;
}

/** As Go prints times: no zeros at the end of the fraction, "Z" for UTC. */
function goTime(text: string): string {
  return text
    .replace(/(\.\d*?)0+(?=Z|[+-]\d\d:\d\d$)/i, "$1")
    .replace(/\.(?=Z|[+-])/i, "")
    .replace(/[+-]00:00$/, "Z");
}

function lastComment({ document }: StoredImage): string {
  return document.comment ?? document.history.at(-1)?.comment ?? "";
}

function tagsOf(names: readonly ImageName[]): string[] {
  return names.filter(({ digest }) => digest === undefined).map(nameText);
}

function digestsOf(names: readonly ImageName[]): string[] {
  return names.filter(({ digest }) => digest !== undefined).map(nameText);
}
