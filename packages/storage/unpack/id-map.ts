/**
 * Owners in a user namespace as owners on the host: layers for containers in one are unpacked with theirs.
 */
import { BerthError } from "#errors/errors.ts";

export interface IdRange {
  /** First id inside. */
  inside: number;
  /** What it is on the host. */
  outside: number;
  count: number;
}

export interface IdMap {
  uids: readonly IdRange[];
  gids: readonly IdRange[];
}

/** The host's id for one inside. Throws "invalid" for one that nothing is mapped to, with Docker's text. */
export function mapId(ranges: readonly IdRange[], id: number): number {
  for (const { inside, outside, count } of ranges) {
    if (id >= inside && id < inside + count) return outside + id - inside;
  }
  throw new BerthError("invalid", `Container ID ${id} cannot be mapped to a host ID`, {
    operation: "unpack layer",
    object: String(id),
    hint: "Give the daemon's user more subordinate ids in /etc/subuid and /etc/subgid.",
  });
}
