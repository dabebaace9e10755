/**
 * From what a client typed to an image: a name, a digest, an id or the beginning of one.
 */
import { BerthError } from "#errors/errors.ts";
import { isDigest } from "./digest.ts";
import { imageName } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import { parsePlatform, platformRank, platformText } from "./platform.ts";
import { familiarText, idPrefix, parseReference, withDefaultTag } from "./reference.ts";

/** Throws not-found "No such image: x", or "invalid" where the text is neither a name nor an id. */
export function resolveImage(text: string, images: ImageStore): StoredImage {
  const whole = /^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : text;
  if (isDigest(whole)) {
    const image = images.get(whole);
    if (image === undefined) throw noSuchImage(whole);
    return image;
  }
  const reference = withDefaultTag(parseReference(text));
  const named = images.names.find(imageName(reference));
  const image = named === undefined ? undefined : images.get(named);
  // busybox:1.36@sha256:…: the tag is decoration, but a wrong digest is not.
  if (image !== undefined) return image;
  const prefix = idPrefix(text);
  const candidates = prefix === undefined ? [] : images.withPrefix(prefix);
  if (candidates[0] !== undefined && candidates.length === 1) return candidates[0];
  throw noSuchImage(
    familiarText(reference),
    candidates.length > 1 ? `${text} is the beginning of several image ids; give more digits` : undefined,
  );
}

/** Throws "not-found" for an image that is not for `platform` ("linux/arm64"); empty means any. */
export function checkPlatform(text: string, image: StoredImage, platform: string, operation: string): void {
  if (platform === "") return;
  const wanted = parsePlatform(platform);
  if (platformRank(image.document, wanted) !== undefined) return;
  throw new BerthError(
    "not-found",
    `image with reference ${text} was found but does not provide the specified platform (${platformText(wanted)})`,
    { operation, object: text },
  );
}

/** Did the client mean the image itself, by id, rather than one of its names? */
export function isIdOf(text: string, image: StoredImage): boolean {
  const prefix = idPrefix(text);
  return prefix !== undefined && image.id.startsWith(`sha256:${prefix}`);
}

function noSuchImage(object: string, hint?: string): BerthError {
  return new BerthError("not-found", `No such image: ${object}`, {
    operation: "find image",
    object,
    ...(hint === undefined ? {} : { hint }),
  });
}
