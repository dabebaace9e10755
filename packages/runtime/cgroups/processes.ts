/** The processes in a container's control group, by host pid. */
import { readFileSync } from "node:fs";
import { type CgroupOwner, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Host pids of all processes in the container, lowest first; none if it has no group (any more). */
export function containerProcesses(layout: CgroupLayout, owner: CgroupOwner): number[] {
  // One hierarchy tells all. The freezer's and the pids controller's are least likely to be moved out of by others.
  const directories = cgroupDirectories(layout, owner);
  const directory =
    directories.find(({ controllers }) => controllers.includes("pids")) ??
    directories.find(({ controllers }) => controllers.includes("freezer")) ??
    directories[0];
  if (directory === undefined) return [];
  return readPids(`${directory.path}/cgroup.procs`);
}

/** Pids in a cgroup.procs file; none if it has gone. */
export function readPids(file: string): number[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (isGone(error)) return [];
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
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENODEV");
}
