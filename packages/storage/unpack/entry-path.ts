/**
 * Names of archive entries as paths inside the layer, and the names that whiteouts hide in.
 */
import { BerthError } from "#errors/errors.ts";

/** A component that is empty, "." or "..": only then is there something to clean. */
const unclean = /(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * The path below the root, without slashes at its ends; "" is the root itself. Cleaned by its text alone, as Docker does:
 * absolute names begin at the root. A relative name that climbs out of the root is refused ("invalid").
 */
export function entryPath(name: string): string {
  const trimmed = name.endsWith("/") ? name.slice(0, -1) : name;
  if (!unclean.test(trimmed)) return trimmed;
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0) parts.pop();
    else if (!name.startsWith("/")) {
      throw new BerthError("invalid", `archive entry ${JSON.stringify(name)} is outside of the root`, {
        operation: "unpack layer",
        object: name,
      });
    }
  }
  return parts.join("/");
}

/** The directory that a cleaned path lies in; "" is the root. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

export function lastName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

export function joinPath(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

export const whiteoutPrefix = ".wh.";
export const opaqueMarker = ".wh..wh..opq";
/** Begins the names of other marks that old AUFS layers hold; they mean nothing to us. */
export const markerPrefix = ".wh..wh.";

export type Meaning =
  | { kind: "entry" }
  | { kind: "whiteout"; hidden: string }
  | { kind: "opaque" }
  | { kind: "marker" };

/** What an entry with this last name means. Throws "invalid" for a whiteout of "." or "..". */
export function meaningOf(name: string): Meaning {
  if (!name.startsWith(whiteoutPrefix)) return { kind: "entry" };
  if (name === opaqueMarker) return { kind: "opaque" };
  if (name.startsWith(markerPrefix)) return { kind: "marker" };
  const hidden = name.slice(whiteoutPrefix.length);
  if (hidden === "" || hidden === "." || hidden === "..") {
    throw new BerthError("invalid", `archive entry ${JSON.stringify(name)} hides no valid name`, {
      operation: "unpack layer",
      object: name,
    });
  }
  return { kind: "whiteout", hidden };
}
