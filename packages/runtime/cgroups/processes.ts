/** The processes in a container's control groups, by host pid. */
import { readdirSync, readFileSync } from "node:fs";
import {
  type CgroupDirectory,
  type CgroupOwner,
  cgroupDirectories,
} from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/**
 * Host pids of all processes in the container, lowest first; none if it has no group (any more). Groups that the
 * container has made inside its own count unless `nested` is false.
 */
export function containerProcesses(
  layout: CgroupLayout,
  owner: CgroupOwner,
  { nested = true }: { nested?: boolean } = {},
): number[] {
  const directory = tellingDirectory(cgroupDirectories(layout, owner));
  if (directory === undefined) return [];
  return nested ? processesBelow(directory.path) : readPids(`${directory.path}/cgroup.procs`);
}

/** One hierarchy tells all. The pids controller's and the freezer's are least likely to be moved out of by others. */
function tellingDirectory(directories: readonly CgroupDirectory[]): CgroupDirectory | undefined {
  return (
    directories.find(({ controllers }) => controllers.includes("pids")) ??
    directories.find(({ controllers }) => controllers.includes("freezer")) ??
    directories[0]
  );
}

/** Of a group and all below it, lowest first. */
export function processesBelow(path: string): number[] {
  const all = groupsBelow(path).flatMap((group) => readPids(`${group}/cgroup.procs`));
  return [...new Set(all)].sort((one, other) => one - other);
}

/** The group itself and all below it, parents first; none if it has gone. */
export function groupsBelow(path: string): string[] {
  try {
    const inner = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [path, ...inner.flatMap(({ name }) => groupsBelow(`${path}/${name}`))];
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Pids in a cgroup.procs file; none if it has gone, or tells none because its group is of threads only. */
export function readPids(file: string): number[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (isGone(error) || hasCode(error, "EOPNOTSUPP", "ENOTSUP")) return [];
    throw error;
  }
  return text
    .split("\n")
    .filter(Boolean)
    .map(Number)
    .filter((pid) => pid > 0)
    .sort((one, other) => one - other);
}

/** ENOENT: never made or removed. ENODEV: removed while open. */
export function isGone(error: unknown): boolean {
  return hasCode(error, "ENOENT", "ENODEV");
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
