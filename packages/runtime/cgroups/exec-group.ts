/**
 * Which groups a further process of a container joins: the container's own, one below them that the caller names, or,
 * where the container has made groups of its own inside and put its first process there, that process'.
 */
import { readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import {
  type CgroupOwner,
  type CgroupPlacement,
  cgroupDirectories,
} from "#runtime/cgroups/container-cgroup.ts";
import { ownGroup } from "#runtime/cgroups/placement.ts";
import { isGone } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

export interface ExecGroupRequest {
  /** Host pid of the container's first process. */
  pid: number;
  /** `--cgroup`: "path" for all hierarchies, "cpu,memory:path" for some of version 1's; below the container's own. */
  below: readonly string[];
}

/** Throws "invalid" for a `--cgroup` that cannot be. */
export function execPlacement(
  layout: CgroupLayout,
  owner: CgroupOwner,
  { pid, below }: ExecGroupRequest,
): CgroupPlacement {
  const groups: Record<string, string> = {};
  const wanted = below.map((text) => subgroup(layout, text));
  for (const { root, path, controllers } of cgroupDirectories(layout, owner)) {
    const container = path.slice(root.length + 1);
    const named = wanted.findLast(
      ({ controllers: some }) => some === undefined || some.some((name) => controllers.includes(name)),
    );
    groups[root] = [container, named?.path].filter(Boolean).join("/");
  }
  const { v2 } = layout;
  const group = v2 && groups[v2];
  // A group of version 2 that passes controllers on takes no processes of its own.
  if (layout.version === 2 && v2 && group && wanted.length === 0 && passesOn(`${v2}/${group}`)) {
    const actual = ownGroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"), []).slice(1);
    if (actual.startsWith(`${group}/`)) groups[v2] = actual;
  }
  return { groups };
}

function subgroup(layout: CgroupLayout, text: string): { controllers?: string[]; path: string } {
  const colon = text.indexOf(":");
  const path = text.slice(colon + 1);
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) throw refuse(text, "leads out of the container's group");
  if (colon < 0) return { path: names.join("/") };
  const controllers = text.slice(0, colon).split(",");
  if (layout.version === 2)
    throw refuse(text, "names controllers, but there is one hierarchy for all of them");
  const unknown = controllers.find((name) => !Object.hasOwn(layout.v1, name));
  if (unknown !== undefined) throw refuse(text, `unknown controller ${JSON.stringify(unknown)}`);
  return { controllers, path: names.join("/") };
}

function passesOn(path: string): boolean {
  try {
    return readFileSync(`${path}/cgroup.subtree_control`, "utf8").trim() !== "";
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

function refuse(text: string, why: string): BerthError {
  return new BerthError("invalid", `bad sub cgroup ${JSON.stringify(text)}: ${why}`, { operation: "exec" });
}
