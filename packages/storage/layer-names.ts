/**
 * Names in a driver's directory of layers, the same for all drivers that keep one directory for each.
 *
 * A plain name is a complete layer; what is unfinished or on its way out begins with a dot, so that a crash leaves nothing
 * that could be taken for one.
 */
import { BerthError } from "#errors/errors.ts";

/** Begins the name of a layer that is being made. */
export const newPrefix = ".new-";
/** Begins the name of one that is being deleted. */
export const gonePrefix = ".gone-";
/** Ends the name of a container's init layer. */
export const initSuffix = "-init";

/** An init layer belongs to whom the layer above it belongs. */
export function ownerOf(name: string): string {
  return name.endsWith(initSuffix) ? name.slice(0, -initSuffix.length) : name;
}

/** Ids become names in our directory: nothing that could be another path, or one of our own names ("invalid"). */
export function checkLayerId(cacheId: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]+$/.test(cacheId)) return;
  throw new BerthError("invalid", `${JSON.stringify(cacheId)} is no layer id`, {
    operation: "find layer",
    object: cacheId,
  });
}

/** Said where a layer is asked for that is not there. */
export function noSuchLayer(cacheId: string, cause?: unknown): BerthError {
  return new BerthError("not-found", `layer ${cacheId} does not exist`, {
    operation: "read layer",
    object: cacheId,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Said where a layer would have more than `depth` layers below it; Docker's text. */
export function tooDeep(cacheId: string, depth: number): BerthError {
  return new BerthError("invalid", "max depth exceeded", {
    operation: "create layer",
    object: cacheId,
    hint: `At most ${depth} layers can lie below one another; flatten the image with export and import.`,
  });
}

/** Said where a directory of a layer is not there that others stand on: it was not us. */
export function goneBelow(cacheId: string, missing: string, path: string): BerthError {
  return new BerthError(
    "internal",
    `layer ${missing}, which ${cacheId} stands on, is gone: there is no ${path}`,
    {
      operation: "read layer",
      object: missing,
      hint: "Something removed it from the daemon's data; pull or load its image again. What containers wrote is in their own layers.",
    },
  );
}
