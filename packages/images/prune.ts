/**
 * docker image prune: removes what nobody uses.
 *
 * Without names that is what no tag points to and no container stands on; with `dangling=false` also what has tags. An image in
 * use keeps every name it has. What other work holds is never taken.
 */
import type { ImageDeleteItem } from "#api-types/image.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import { createdAt, danglingFilter, labelFilter, untilTime } from "./list-filters.ts";
import { type RemoveDependencies, type RemoveOptions, removeImage } from "./remove.ts";

export interface ImagePruneReport {
  ImagesDeleted: ImageDeleteItem[] | null;
  /** Bytes. */
  SpaceReclaimed: number;
}

const known = ["dangling", "label", "label!", "until"];

/** Throws BerthError "invalid" for a filter that does not exist or a value it does not take. */
export async function pruneImages(
  filters: Record<string, string[]>,
  inUse: RemoveOptions["inUse"],
  dependencies: RemoveDependencies,
): Promise<ImagePruneReport> {
  const { images, layers } = dependencies;
  const wanted = pruneFilter(filters, images);
  const sizes = layers.sizes();
  const deleted: ImageDeleteItem[] = [];
  // Newest first: a child goes before its parent, which then may go too.
  const candidates = images.all().sort((a, b) => createdAt(b) - createdAt(a));
  for (const { id } of candidates) {
    const image = images.get(id);
    // Asked again for each: time passes between them.
    if (image === undefined || !wanted(image) || inUse(id).length > 0) continue;
    deleted.push(...(await removeUnused(image, inUse, dependencies)));
  }
  const reclaimed = deleted.reduce((sum, { Deleted }) => sum + (sizes.get(Deleted ?? "") ?? 0), 0);
  return { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed };
}

async function removeUnused(
  image: StoredImage,
  inUse: RemoveOptions["inUse"],
  dependencies: RemoveDependencies,
): Promise<ImageDeleteItem[]> {
  try {
    return await removeImage(image.id, { force: false, noPrune: false, inUse }, dependencies, "every name");
  } catch (error) {
    // Somebody began to use it, built on it or removed it meanwhile.
    if (isBerthError(error, "conflict") || isBerthError(error, "not-found")) return [];
    throw error;
  }
}

/** Which images are to go. */
function pruneFilter(filters: Record<string, string[]>, images: ImageStore): (image: StoredImage) => boolean {
  for (const name of Object.keys(filters)) {
    if (!known.includes(name)) throw invalid(`invalid filter '${name}'`);
  }
  if ((filters.until ?? []).length > 1) throw invalid("more than one until filter specified");
  const danglingOnly = danglingFilter(filters.dangling ?? []) ?? true;
  const [until] = (filters.until ?? []).map(untilTime);
  const labels = (filters.label ?? []).map(labelFilter);
  const otherLabels = (filters["label!"] ?? []).map(labelFilter);
  return (image) => {
    const names = images.names.of(image.id);
    if (danglingOnly && names.some(({ digest }) => digest === undefined)) return false;
    if (names.length === 0 && images.children(image.id) > 0) return false;
    if (until !== undefined && createdAt(image) > until) return false;
    const held = image.config.Labels ?? {};
    return labels.every((matches) => matches(held)) && !otherLabels.some((matches) => matches(held));
  };
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "prune images" });
}
