/** Where a container's control groups lie: one directory per hierarchy. Pure. */
import { BerthError } from "#errors/errors.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** The group all containers are under, unless they were given another parent. */
export const PARENT = "berth";

/** A container id, a path below the hierarchies' roots ("/mine/x"), or a record that tells both. */
export type CgroupOwner = string | { id: string; hostConfig?: { CgroupParent?: string } };

/** Path below each hierarchy's root, without slashes at its ends: "berth/<id>". Throws "invalid" for one with "..". */
export function cgroupPath(owner: CgroupOwner): string {
  if (typeof owner !== "string") return containerCgroupPath(owner.id, owner.hostConfig?.CgroupParent);
  return owner.includes("/") ? checked(owner) : containerCgroupPath(owner);
}

/** The path for a container, with `--cgroup-parent` if it has one. */
export function containerCgroupPath(id: string, parent?: string): string {
  return checked(`${parent || PARENT}/${id}`);
}

function checked(path: string): string {
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

/** The container's directory in every hierarchy that is used: each of version 1's, or the one of version 2. */
export function cgroupDirectories(layout: CgroupLayout, owner: CgroupOwner): CgroupDirectory[] {
  const relative = cgroupPath(owner);
  if (layout.version === 2) {
    const root = layout.v2 as string;
    return [{ root, path: `${root}/${relative}`, controllers: layout.v2Controllers }];
  }
  const byRoot = new Map<string, string[]>();
  for (const [controller, root] of Object.entries(layout.v1)) {
    byRoot.set(root, [...(byRoot.get(root) ?? []), controller]);
  }
  return [...byRoot].map(([root, controllers]) => ({ root, path: `${root}/${relative}`, controllers }));
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
