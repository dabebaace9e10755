/**
 * Failures of the disk, in words that name what to do: a full disk is the one that users meet.
 */
import { BerthError, isBerthError } from "#errors/errors.ts";

/** SQLITE_FULL, sqlite.org/rescode.html. */
const sqliteFull = 13;
const fullCodes = new Set(["ENOSPC", "EDQUOT"]);

/** Wraps a failure of node:fs, the unpacker or a worker; a BerthError stays what it is unless the disk was full. */
export function diskError(error: unknown, operation: string, object: string): BerthError {
  if (isNoSpace(error)) return noSpace(operation, object, error);
  if (isBerthError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new BerthError("internal", message, { operation, object, cause: error });
}

export function noSpace(operation: string, object: string, cause?: unknown): BerthError {
  return new BerthError("no-space", `${operation} ${object}: no space left on device`, {
    operation,
    object,
    hint: "free space under the data root, for example by removing unused images: docker image prune",
    cause,
  });
}

/** Is a full disk or quota at the bottom of this? Looks through wrapped causes. */
export function isNoSpace(error: unknown): boolean {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 8; depth++) {
    if (isBerthError(at, "no-space")) return true;
    const { code, errcode } = at as { code?: unknown; errcode?: unknown };
    if (typeof code === "string" && fullCodes.has(code)) return true;
    if (code === "ERR_SQLITE_ERROR" && errcode === sqliteFull) return true;
    at = (at as { cause?: unknown }).cause;
  }
  return false;
}
