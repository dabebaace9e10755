/**
 * The short names of layers: `l/<26 characters>` is a symbolic link to `../<cache id>/diff`. Mount options have room for a
 * page only, and names of 64 digits would use it up after some fifty layers.
 */
import { randomBytes } from "node:crypto";

/** Directory of the links, relative to the driver's. */
export const linkDirectory = "l";

const linkLength = 26;
/** RFC 4648 base32. */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** A new random short name. */
export function newLinkName(): string {
  let name = "";
  // 32 characters: the low five bits of a random byte are uniform.
  for (const byte of randomBytes(linkLength)) name += alphabet[byte & 31];
  return name;
}

export function linkTarget(cacheId: string): string {
  return `../${cacheId}/diff`;
}

/** The cache id a link's target names; undefined for any other text. */
export function linkedCacheId(target: string): string | undefined {
  return /^\.\.\/([^/]+)\/diff$/.exec(target)?.[1];
}

/** Takes the text of a `lower` file apart: relative paths of links, uppermost first. */
export function parseLower(text: string): string[] {
  return text
    .trim()
    .split(":")
    .filter((path) => path !== "");
}
