/**
 * Before a container is made: where its groups go is settled, by a look at the host. Nobody else's processes may be
 * there; who isn't root does without the hierarchies that don't let him in, as long as the configuration asks for no
 * place in them. Nothing is made until `prepareCgroups`.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { type CgroupPlacement, hierarchies } from "#runtime/cgroups/container-cgroup.ts";
import { isGroupFrozen } from "#runtime/cgroups/freezer.ts";
import { prepareGroupsAbove } from "#runtime/cgroups/parent-group.ts";
import { ownGroup, placeInDirectories, placeInScope } from "#runtime/cgroups/placement.ts";
import { processesBelow } from "#runtime/cgroups/processes.ts";
import { userManagerGroup } from "#runtime/cgroups/systemd-scope.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

export interface SettleOptions {
  id: string;
  /** `linux.cgroupsPath` */
  cgroupsPath?: string | undefined;
  /** By systemd, with `--systemd-cgroup`. */
  systemd: boolean;
  /** Without root's rights. */
  rootless: boolean;
}

/** Throws "conflict" for a place that is taken, "invalid" for none that can be, "unavailable" without systemd. */
export async function settleCgroups(layout: CgroupLayout, options: SettleOptions): Promise<CgroupPlacement> {
  const { systemd, rootless, cgroupsPath } = options;
  const own = readFileSync("/proc/self/cgroup", "utf8");
  const placed = systemd ? await inScope(layout, options) : placeInDirectories(layout, { ...options, own });
  const reachable = rootless && !systemd && !cgroupsPath ? withinReach(layout, placed, own) : placed;
  const kept = refuseTaken(layout, reachable);
  return {
    ...reachable,
    // By its own id alone a group is ours, whoever has left it; elsewhere it is whose it was.
    ...(cgroupsPath && !systemd && kept.length > 0 && { kept }),
    ...(rootless && { rootless }),
  };
}

/**
 * Makes what lies above the groups, where the container's own program would not do all of it: version 2's groups pass
 * their controllers on. For a configuration that is known to be good; nothing of it is taken back.
 */
export function prepareCgroups(layout: CgroupLayout, { groups, unit }: CgroupPlacement): void {
  if (layout.version === 1 || unit !== undefined) return;
  for (const [root, relative] of Object.entries(groups)) prepareGroupsAbove(root, relative);
}

async function inScope(
  layout: CgroupLayout,
  { id, cgroupsPath, rootless }: SettleOptions,
): Promise<CgroupPlacement> {
  const managerGroup = rootless ? await userManagerGroup() : "";
  return placeInScope(layout, { id, cgroupsPath }, { user: rootless, managerGroup });
}

/** Answers which of the groups are there already, with nobody in them. */
function refuseTaken(layout: CgroupLayout, { groups }: CgroupPlacement): string[] {
  const paths = Object.entries(groups)
    .map(([root, relative]) => `${root}/${relative}`)
    .filter((path) => existsSync(path));
  for (const path of paths) {
    const { length } = processesBelow(path);
    if (length > 0) throw taken(`container's cgroup is not empty: ${length} process(es) found`, path);
    if (isGroupFrozen(layout, path)) throw taken("container's cgroup unexpectedly frozen", path);
  }
  return paths;
}

function taken(message: string, object: string): BerthError {
  return new BerthError("conflict", message, { operation: "make control groups", object });
}

/** The hierarchies in which we may make a group and move a process of ours there. */
function withinReach(layout: CgroupLayout, placed: CgroupPlacement, own: string): CgroupPlacement {
  const groups: Record<string, string> = {};
  for (const { root, controllers } of hierarchies(layout)) {
    const relative = placed.groups[root];
    if (relative === undefined) continue;
    const from = `${root}${ownGroup(own, layout.version === 2 ? [] : controllers)}`;
    if (mayMove(layout, from, `${root}/${relative}`)) groups[root] = relative;
  }
  return { ...placed, groups };
}

/** Version 2 wants the right to write cgroup.procs of the group above both, too (Delegation Containment). */
function mayMove(layout: CgroupLayout, from: string, to: string): boolean {
  let above = dirname(to);
  while (!existsSync(above)) above = dirname(above);
  if (!isAccessible(above)) return false;
  if (layout.version === 1) return true;
  let common = above;
  while (from !== common && !from.startsWith(`${common}/`)) common = dirname(common);
  return isAccessible(`${common}/cgroup.procs`);
}

function isAccessible(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
