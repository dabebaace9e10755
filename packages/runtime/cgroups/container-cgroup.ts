/**
 * Where a container's control groups lie: one directory per hierarchy. Pure.
 *
 * The daemon's containers are named by id or path and lie at the same path in every hierarchy. Those of the command line
 * have a placement (placement.ts): settled once when they are made, kept with their state, taken for granted afterwards.
 */
import { BerthError } from "#errors/errors.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** The group all containers are under, unless they were given another parent. */
export const PARENT = "berth";

/** The groups of one container, as settled when it was created. Plain data: kept in its state. */
export interface CgroupPlacement {
  /** Mount point of a hierarchy → path below it, without slashes at its ends. What isn't named isn't used. */
  groups: Record<string, string>;
  /** Full paths of those that were there before: joined and limited, but not removed. */
  kept?: string[];
  /** Made by systemd, as this unit. */
  unit?: ScopeUnit;
  /** Made without root's rights: devices cannot be restricted, and aren't. */
  rootless?: boolean;
}

export interface ScopeUnit {
  /** "berth-<id>.scope" */
  name: string;
  /** "system.slice" */
  slice: string;
  /** Asked of the user's own service manager, not the system's. */
  user: boolean;
}

/** A container id, a path below the hierarchies' roots ("/mine/x"), a record that tells both, or a placement. */
export type CgroupOwner = string | { id: string; hostConfig?: { CgroupParent?: string } } | CgroupPlacement;

/** Path below each hierarchy's root, without slashes at its ends: "berth/<id>". Throws "invalid" for one with "..". */
export function cgroupPath(owner: Exclude<CgroupOwner, CgroupPlacement>): string {
  if (typeof owner !== "string") return containerCgroupPath(owner.id, owner.hostConfig?.CgroupParent);
  return owner.includes("/") ? checkedCgroupPath(owner) : containerCgroupPath(owner);
}

/** The path for a container, with `--cgroup-parent` if it has one. */
export function containerCgroupPath(id: string, parent?: string): string {
  return checkedCgroupPath(`${parent || PARENT}/${id}`);
}

/** Without slashes at its ends and doubled ones. Throws "invalid" for the root itself and for one with "..". */
export function checkedCgroupPath(path: string): string {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.length === 0 || names.includes("..") || path.includes("\0")) {
    throw new BerthError("invalid", `invalid cgroup path: ${JSON.stringify(path)}`, {
      operation: "place container in control groups",
    });
  }
  return names.join("/");
}

export interface CgroupDirectory {
  /** Full path on the host. */
  path: string;
  /** Mount point of its hierarchy. */
  root: string;
  /** Controllers bound to the hierarchy; a named one as "name=systemd". All of them on version 2. */
  controllers: string[];
}

/** Hierarchies in use and their controllers: each of version 1's, or the one of version 2. */
export function hierarchies(layout: CgroupLayout): { root: string; controllers: string[] }[] {
  if (layout.version === 2) return [{ root: layout.v2 as string, controllers: layout.v2Controllers }];
  const byRoot = new Map<string, string[]>();
  for (const [controller, root] of Object.entries(layout.v1)) {
    byRoot.set(root, [...(byRoot.get(root) ?? []), controller]);
  }
  return [...byRoot].map(([root, controllers]) => ({ root, controllers }));
}

/** The container's directory in every hierarchy it has a place in. */
export function cgroupDirectories(layout: CgroupLayout, owner: CgroupOwner): CgroupDirectory[] {
  const placed = placementOf(owner);
  if (placed === undefined) {
    const relative = cgroupPath(owner as Exclude<CgroupOwner, CgroupPlacement>);
    return hierarchies(layout).map((hierarchy) => ({ ...hierarchy, path: `${hierarchy.root}/${relative}` }));
  }
  return hierarchies(layout).flatMap((hierarchy) => {
    const relative = placed.groups[hierarchy.root];
    return relative === undefined ? [] : [{ ...hierarchy, path: `${hierarchy.root}/${relative}` }];
  });
}

/** The placement, if the owner is told by one. */
export function placementOf(owner: CgroupOwner): CgroupPlacement | undefined {
  return typeof owner === "object" && "groups" in owner ? owner : undefined;
}

/** The container's directory for one controller; undefined where the host has no such controller. */
export function controllerDirectory(
  layout: CgroupLayout,
  owner: CgroupOwner,
  controller: string,
): string | undefined {
  return cgroupDirectories(layout, owner).find(
    (directory) => layout.version === 2 || directory.controllers.includes(controller),
  )?.path;
}
