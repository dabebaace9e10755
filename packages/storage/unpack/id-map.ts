/**
 * Owners in a user namespace as owners on the host, and back: layers for containers in one are unpacked with the host's, and
 * archives made of them have those inside again, so that an image is the same whatever ids it was stored with.
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

/** As whom the kernel shows, inside, owners that are nobody there (kernel.overflowuid). */
const NOBODY = 65_534;

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

/** The id inside for one of the host's; undefined for one that is nobody there. */
export function unmapId(ranges: readonly IdRange[], id: number): number | undefined {
  for (const { inside, outside, count } of ranges) {
    if (id >= outside && id < outside + count) return inside + id - outside;
  }
  return undefined;
}

/** Who root inside is on the host. Throws as `mapId`. */
export function rootOf({ uids, gids }: IdMap): { uid: number; gid: number } {
  return { uid: mapId(uids, 0), gid: mapId(gids, 0) };
}

/** An owner of the host's as it shows inside. */
export function ownerInside({ uids, gids }: IdMap, owner: { uid: number; gid: number }) {
  return { uid: unmapId(uids, owner.uid) ?? NOBODY, gid: unmapId(gids, owner.gid) ?? NOBODY };
}

/** The same for what is kept: an owner that is nobody inside is refused ("conflict", Docker's text), not forgotten. */
export function keptOwnerInside({ uids, gids }: IdMap, owner: { uid: number; gid: number }) {
  return { uid: kept(uids, owner.uid), gid: kept(gids, owner.gid) };
}

function kept(ranges: readonly IdRange[], id: number): number {
  const inside = unmapId(ranges, id);
  if (inside !== undefined) return inside;
  throw new BerthError("conflict", `Host ID ${id} cannot be mapped to a container ID`, {
    operation: "pack layer",
    object: String(id),
    hint: "A container with --userns=host has made files of the host's own users; export it instead.",
  });
}
