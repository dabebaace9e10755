/**
 * What users see of images: `docker images`, `docker inspect`, `docker history`.
 */
import type { ImageHistoryItem, ImageInspect, ImageSummary } from "#api-types/image.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { type ImageName, type ImageStore, nameText, type StoredImage } from "./image-store.ts";
import type { ImageListFilters } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";
import { createdAt, imageFilter } from "./list-filters.ts";

/** Go's zero time, which Docker shows where there is none. */
const noTime = "0001-01-01T00:00:00Z";

/** Newest first. Images that are only a step of another one's build are left out unless `all`. */
export function listImages({ all, filters }: ImageListFilters, images: ImageStore): ImageSummary[] {
  const filter = imageFilter(filters, images);
  const summaries: ImageSummary[] = [];
  for (const image of images.all()) {
    const names = images.namesOf(image.id);
    if (!all && names.length === 0 && images.children(image.id) > 0) continue;
    const shown = filter(image, names);
    if (shown !== undefined) summaries.push(summary(image, shown));
  }
  return summaries.sort((a, b) => b.Created - a.Created || (a.Id < b.Id ? -1 : 1));
}

function summary(image: StoredImage, names: ImageName[]): ImageSummary {
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
  const names = images.namesOf(image.id);
  return {
    Id: image.id,
    RepoTags: tagsOf(names),
    RepoDigests: digestsOf(names),
    Parent: image.parent ?? "",
    Comment: lastComment(image),
    Created: document.created ?? noTime,
    DockerVersion: document.docker_version ?? "",
    Author: document.author ?? "",
    Config: document.config,
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
  const top = items[0];
  if (top !== undefined) {
    top.Id = image.id;
    const tags = tagsOf(images.namesOf(image.id));
    top.Tags = tags.length === 0 ? null : tags;
  }
  return items;
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
