/**
 * `linux.cgroupsPath` → where a container's groups go, as runc settles it. Pure.
 *
 * An absolute path counts from the hierarchy's root. A relative one, or none at all (then it is the container's id),
 * counts from the group the caller itself is in; on version 2 from the one above that, since a group with processes of
 * its own cannot pass controllers on. With systemd it is "slice:prefix:name", a transient scope in a slice.
 */
import { BerthError } from "#errors/errors.ts";
import {
  type CgroupPlacement,
  checkedCgroupPath,
  hierarchies,
  type ScopeUnit,
} from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Used for a scope where the configuration names no prefix. */
const SCOPE_PREFIX = "berth";

export interface PlacementRequest {
  id: string;
  /** `linux.cgroupsPath` */
  cgroupsPath?: string | undefined;
  /** Text of the caller's /proc/self/cgroup. */
  own: string;
}

/** Groups made by plain directories. Throws "invalid", naming the field. */
export function placeInDirectories(layout: CgroupLayout, request: PlacementRequest): CgroupPlacement {
  const { id, cgroupsPath, own } = request;
  const wanted = cgroupsPath || id;
  const groups: Record<string, string> = {};
  for (const { root, controllers } of hierarchies(layout)) {
    const above = wanted.startsWith("/") ? "" : groupAbove(layout, own, controllers);
    groups[root] = checkedField(`${above}/${wanted}`);
  }
  return { groups };
}

function groupAbove(layout: CgroupLayout, own: string, controllers: readonly string[]): string {
  const path = ownGroup(own, layout.version === 2 ? [] : controllers);
  return layout.version === 2 ? path.slice(0, Math.max(path.lastIndexOf("/"), 0)) : path;
}

/**
 * The group of a process in the hierarchy of these controllers (none: version 2) from the text of its /proc/<pid>/cgroup:
 * "/a/b", or "" for the root. A group outside of the reader's cgroup namespace counts as the root.
 */
export function ownGroup(text: string, controllers: readonly string[]): string {
  for (const line of text.split("\n")) {
    const [, bound = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === "") continue;
    const names = bound.split(",");
    const same = controllers.length === 0 ? bound === "" : controllers.some((name) => names.includes(name));
    if (same) return path === "/" || path.startsWith("/..") ? "" : path;
  }
  return "";
}

/** A scope of systemd's. `managerGroup` is the group of the user's service manager, "" for the system's. */
export function placeInScope(
  layout: CgroupLayout,
  { id, cgroupsPath }: Omit<PlacementRequest, "own">,
  { user, managerGroup = "" }: { user: boolean; managerGroup?: string },
): CgroupPlacement {
  const unit = scopeUnit(id, cgroupsPath, user);
  const relative = checkedField(`${managerGroup}/${sliceGroup(unit.slice)}/${unit.name}`);
  const groups = Object.fromEntries(hierarchies(layout).map(({ root }) => [root, relative]));
  return { groups, unit };
}

function scopeUnit(id: string, cgroupsPath: string | undefined, user: boolean): ScopeUnit {
  const usual = user ? "user.slice" : "system.slice";
  if (!cgroupsPath) return { name: `${SCOPE_PREFIX}-${id}.scope`, slice: usual, user };
  const parts = cgroupsPath.split(":");
  const [slice = "", prefix = "", name = ""] = parts;
  if (parts.length !== 3 || name === "" || cgroupsPath.includes("/")) {
    throw invalid(
      `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ${JSON.stringify(cgroupsPath)} instead`,
    );
  }
  if (name.endsWith(".slice"))
    throw invalid(`${JSON.stringify(name)} is a slice, which holds no processes of its own`);
  return { name: `${prefix}-${name}.scope`, slice: slice || usual, user };
}

/** "a-b.slice" lies in "a.slice/a-b.slice" (systemd.slice(5)). */
export function sliceGroup(slice: string): string {
  const stem = slice.endsWith(".slice") ? slice.slice(0, -".slice".length) : "";
  if (stem === "-") return "";
  const names = stem.split("-");
  if (stem === "" || slice.includes("/") || names.includes(""))
    throw invalid(`invalid slice name: ${JSON.stringify(slice)}`);
  return names.map((_, index) => `${names.slice(0, index + 1).join("-")}.slice`).join("/");
}

function checkedField(path: string): string {
  try {
    return checkedCgroupPath(path);
  } catch (cause) {
    throw invalid(`invalid cgroup path: ${JSON.stringify(path)}`, cause);
  }
}

function invalid(message: string, cause?: unknown): BerthError {
  return new BerthError("invalid", `linux.cgroupsPath: ${message}`, {
    operation: "place container in control groups",
    ...(cause !== undefined && { cause }),
  });
}
