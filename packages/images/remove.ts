/**
 * docker rmi, by Docker's rules: what is only untagged, what is deleted, and what stands in the way.
 *
 * Layers that containers still stand on are never removed: an image removed by force from under a stopped container is
 * withdrawn, and collected when the container is gone.
 */

import type { ImageDeleteItem } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { type Digest, shortId } from "./digest.ts";
import { type ImageName, imageName, nameText } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import type { LayerStore } from "./layer-store.ts";
import { parseReference, withDefaultTag } from "./reference.ts";
import { checkPlatform, isIdOf, resolveImage } from "./resolve-image.ts";

export interface RemoveOptions {
  force: boolean;
  noPrune: boolean;
  /** Only an image for it ("linux/arm64"); by default any. */
  platform?: string;
  inUse: (imageId: string) => { id: string; running: boolean }[];
}

export interface RemoveDependencies {
  images: ImageStore;
  layers: LayerStore;
  onEvent: (action: "untag" | "delete", id: Digest) => void;
}

/**
 * Answers what was untagged and deleted, in Docker's order. Throws BerthError "conflict" or "not-found". An id takes only an
 * image's single name along, unless `names` says that it takes all.
 */
export async function removeImage(
  text: string,
  options: RemoveOptions,
  dependencies: RemoveDependencies,
  names: "single name" | "every name" = "single name",
): Promise<ImageDeleteItem[]> {
  const { images } = dependencies;
  const image = resolveImage(text, images);
  checkPlatform(text, image, options.platform ?? "", "remove image");
  const items: ImageDeleteItem[] = [];
  const held = images.names.of(image.id);
  let untagged = false;
  if (isIdOf(text, image)) {
    if (names === "every name" || isSingleName(held)) {
      const found = conflict(image, options, images, { names: false, soft: !options.force });
      if (found !== undefined) throw found.error;
      for (const name of held) untag(name, image.id, items, dependencies);
    }
  } else {
    const first = options.inUse(image.id)[0];
    if (!options.force && first !== undefined && isSingleName(held)) {
      throw conflictError(
        `unable to remove repository reference ${JSON.stringify(text)} (must force) - container ${shortId(first.id)} is using its referenced image ${shortId(image.id)}`,
        text,
      );
    }
    untagWithDigests(imageName(withDefaultTag(parseReference(text))), image.id, items, dependencies);
    if (images.names.of(image.id).length > 0) return items;
    untagged = true;
  }
  await deleteImage(image, options, untagged, items, dependencies);
  return items;
}

/** Removes withdrawn images that no container stands on any more. */
export async function collectWithdrawn(
  inUse: RemoveOptions["inUse"],
  { images, layers }: Pick<RemoveDependencies, "images" | "layers">,
): Promise<void> {
  for (const { id, topChain } of images.withdrawn()) {
    // Asked again for each: time passes between them, and who pulls or loads an image brings it back.
    if (images.get(id) !== undefined || inUse(id).length > 0) continue;
    await using _stack = layers.hold(layers.chainOf(topChain).map((row) => row.diff_id ?? ""));
    images.delete(id);
  }
}

/** The name, and with a repository's last tag its digests too. */
function untagWithDigests(
  name: ImageName,
  id: Digest,
  items: ImageDeleteItem[],
  dependencies: RemoveDependencies,
): void {
  untag(name, id, items, dependencies);
  if (name.digest !== undefined) return;
  const same = dependencies.images.names.of(id).filter(({ repository }) => repository === name.repository);
  if (same.some(({ digest }) => digest === undefined)) return;
  for (const digestName of same) untag(digestName, id, items, dependencies, false);
}

function untag(
  name: ImageName,
  id: Digest,
  items: ImageDeleteItem[],
  { images, onEvent }: RemoveDependencies,
  announce = true,
): void {
  images.names.remove(name);
  items.push({ Untagged: nameText(name) });
  if (announce) onEvent("untag", id);
}

async function deleteImage(
  image: StoredImage,
  options: RemoveOptions,
  quiet: boolean,
  items: ImageDeleteItem[],
  dependencies: RemoveDependencies,
): Promise<void> {
  const { images, layers, onEvent } = dependencies;
  const found = conflict(image, options, images, { names: !options.force, soft: !options.force });
  if (found !== undefined) {
    const dangling = images.names.of(image.id).length === 0 && images.children(image.id) === 0;
    // The name that was asked for is gone; that the image stays is only worth an error if nobody uses it.
    if (quiet && (!dangling || found.used)) return;
    throw found.error;
  }
  for (const name of images.names.of(image.id)) untag(name, image.id, items, dependencies);
  if (options.inUse(image.id).length > 0) {
    images.withdraw(image.id);
    onEvent("delete", image.id);
    items.push({ Deleted: image.id });
    return;
  }
  // Held, so that exactly those that nobody else needs vanish when it is let go.
  await using stack = layers.hold(image.document.rootfs.diff_ids);
  images.delete(image.id);
  onEvent("delete", image.id);
  items.push({ Deleted: image.id });
  for (const chainId of await stack.release()) items.push({ Deleted: chainId });
  const parent = options.noPrune || image.parent === null ? undefined : images.get(image.parent);
  if (parent !== undefined)
    await deleteImage(parent, { ...options, force: false }, true, items, dependencies);
}

/** Is there at most one tag, and every digest in its repository? */
function isSingleName(names: readonly ImageName[]): boolean {
  if (names.length <= 1) return true;
  const tags = names.filter(({ digest }) => digest === undefined);
  const repositories = new Set(
    names.filter(({ digest }) => digest !== undefined).map((name) => name.repository),
  );
  if (tags.length > 1 || repositories.size !== 1) return false;
  return repositories.has((tags[0] ?? names[0])?.repository ?? "");
}

/** What forbids deleting; `names` and `soft` say whether names and stopped containers count. */
function conflict(
  image: StoredImage,
  options: RemoveOptions,
  images: ImageStore,
  counts: { names: boolean; soft: boolean },
): { error: BerthError; used: boolean } | undefined {
  const users = options.inUse(image.id);
  const running = users.find((user) => user.running);
  const stopped = users.find((user) => !user.running);
  const because = (force: string, why: string, used: boolean) => ({
    error: conflictError(`unable to delete ${shortId(image.id)} (${force}) - ${why}`, image.id),
    used,
  });
  if (images.children(image.id) > 0)
    return because("cannot be forced", "image has dependent child images", false);
  if (running !== undefined) {
    return because(
      "cannot be forced",
      `image is being used by running container ${shortId(running.id)}`,
      true,
    );
  }
  if (counts.names && images.names.of(image.id).length > 0) {
    return because("must be forced", "image is referenced in multiple repositories", false);
  }
  if (counts.soft && stopped !== undefined) {
    return because("must be forced", `image is being used by stopped container ${shortId(stopped.id)}`, true);
  }
  return undefined;
}

function conflictError(message: string, object: string): BerthError {
  return new BerthError("conflict", `conflict: ${message}`, { operation: "remove image", object });
}
