/**
 * Versions of the Engine API: which are spoken, and how a request asks for one.
 *
 * A request names its version in the path (/v1.41/…); without one it gets the newest. Where an answer or a
 * parameter depends on the version, the handler asks `atLeast`. What is gated so far:
 *
 *   1.30  wait answers its headers at once and knows conditions
 *   1.40  update changes PidsLimit
 *   1.41  platform at create; one-shot statistics
 *   1.42  multiplexed-stream content type; stop signals; ConsoleSize of execs; cluster volumes; volume prune spares
 *         named volumes
 *   1.45  aliases of a container without its own id
 *   1.46  annotations in lists
 *
 * What requests to create a container mean by version is in old-requests.ts, what /info shows in system-answers.ts, what
 * images show in image-answers.ts.
 */
import { BerthError } from "#errors/errors.ts";

export interface ApiVersion {
  readonly major: number;
  readonly minor: number;
}

export const oldestVersion = "1.24";
/** The newest that Docker 28 speaks. */
export const newestVersion = "1.51";

/** Splits a version prefix off; a path without one is `version: undefined`. */
export function splitVersion(path: string): { version: string | undefined; path: string } {
  const found = /^\/v([0-9.]+)(\/.*)$/s.exec(path);
  return found === null ? { version: undefined, path } : { version: found[1] ?? "", path: found[2] ?? "/" };
}

/** Throws "invalid" with Docker's texts for a version outside what is spoken. */
export function negotiate(
  requested: string | undefined,
  oldest: string = oldestVersion,
  newest: string = newestVersion,
): ApiVersion {
  if (requested === undefined) return parseVersion(newest);
  if (compareVersions(requested, oldest) < 0) {
    throw unsupported(
      `client version ${requested} is too old. Minimum supported API version is ${oldest}, please upgrade your client to a newer version`,
    );
  }
  if (compareVersions(requested, newest) > 0) {
    throw unsupported(`client version ${requested} is too new. Maximum supported API version is ${newest}`);
  }
  return parseVersion(requested);
}

/** Is the version this one or newer? */
export function atLeast(version: ApiVersion, bound: `${number}.${number}`): boolean {
  const { major, minor } = parseVersion(bound);
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** Negative, zero or positive, comparing dotted numbers; a missing part counts as zero. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function parseVersion(text: string): ApiVersion {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  return { major, minor };
}

function unsupported(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "negotiate API version" });
}
