/**
 * The groups above a container's: on version 1 new cpusets must take over the parent's processors to be usable at all,
 * on version 2 controllers must be passed down. The daemon does it once for the group above all its containers, the
 * command line for each container's; the program of a container does the same for a parent that it had to make.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { PARENT } from "#runtime/cgroups/container-cgroup.ts";
import { hasCode, readPids } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Controllers passed down on version 2, where the host has them. */
export const DELEGATED = ["cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

/** Where the processes go that stand in the way in the root of a hierarchy that is not the host's. */
const LEAF = "init";

/** Idempotent. Throws what the file system says if a hierarchy is read-only. */
export function prepareParentGroup(layout: CgroupLayout, parent = PARENT): void {
  const names = parent.split("/").filter(Boolean);
  const roots = layout.version === 2 ? [layout.v2 as string] : [...new Set(Object.values(layout.v1))];
  for (const root of roots) {
    if (layout.version === 2) {
      if (!passDown(root) && clearRoot(root)) passDown(root);
    }
    let path = root;
    for (const name of names) {
      const above = path;
      path = `${path}/${name}`;
      mkdirSync(path, { recursive: true, mode: 0o755 });
      if (layout.version === 2) passDown(path);
      else if (root === layout.v1.cpuset) inheritCpuset(above, path);
    }
  }
}

/**
 * Version 1: gives the group above all containers its share of real-time scheduling, microseconds (0: as it is); a
 * container's comes out of it. Throws what the kernel says to a share that there is not.
 */
export function giveRealtime(
  layout: CgroupLayout,
  { period, runtime }: { period: number; runtime: number },
  parent = PARENT,
): void {
  if (layout.v1.cpu === undefined) return;
  const group = `${layout.v1.cpu}/${parent.replace(/^\//, "")}`;
  if (period !== 0) writeFileSync(`${group}/cpu.rt_period_us`, String(period));
  if (runtime !== 0) writeFileSync(`${group}/cpu.rt_runtime_us`, String(runtime));
}

/**
 * Version 2: makes the groups above a path below the root, and lets each pass its controllers on, as far as it has them
 * and we may. What is missing in the end shows where a limit cannot be written.
 */
export function prepareGroupsAbove(root: string, relative: string): void {
  let path = root;
  for (const name of ["", ...relative.split("/").slice(0, -1)]) {
    if (name !== "") {
      path = `${path}/${name}`;
      if (!existsSync(path)) mkdirSync(path, { mode: 0o755 });
    }
    passDown(path);
  }
}

/** Answers whether all there is to pass on is passed on now. */
function passDown(path: string): boolean {
  const file = `${path}/cgroup.subtree_control`;
  const has = new Set(readFileSync(file, "utf8").trim().split(" "));
  const given = readFileSync(`${path}/cgroup.controllers`, "utf8").trim().split(" ");
  const missing = DELEGATED.filter((name) => given.includes(name) && !has.has(name));
  if (missing.length === 0) return true;
  if (!isWritable(file)) return false;
  try {
    writeFileSync(file, missing.map((name) => `+${name}`).join(" "));
    return true;
  } catch (error) {
    // Processes are in it. Some controllers could be had even so, at the price of groups that are for threads only.
    if (hasCode(error, "EBUSY")) return false;
    if (!hasCode(error, "EINVAL", "ENOENT", "EOPNOTSUPP", "ENOTSUP")) throw error;
  }
  // All or nothing: so what can be had is asked for one by one.
  return missing.map((name) => tryWrite(file, `+${name}`)).every(Boolean);
}

function isWritable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function tryWrite(file: string, text: string): boolean {
  try {
    writeFileSync(file, text);
    return true;
  } catch {
    return false; // Refused by the kernel; the caller tells what it comes to.
  }
}

/**
 * In a container the hierarchy's root is the container's own group, and passes nothing on while processes are in it:
 * they move one down. Answers whether that was so. The host's own root has no type and no such rule.
 */
function clearRoot(root: string): boolean {
  if (!existsSync(`${root}/cgroup.type`)) return false;
  const leaf = `${root}/${LEAF}`;
  mkdirSync(leaf, { recursive: true, mode: 0o755 });
  for (const pid of readPids(`${root}/cgroup.procs`)) tryWrite(`${leaf}/cgroup.procs`, String(pid));
  return true;
}

function inheritCpuset(from: string, to: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (readFileSync(`${to}/${file}`, "utf8").trim() !== "") continue;
    writeFileSync(`${to}/${file}`, readFileSync(`${from}/${file}`, "utf8"));
  }
  // From here on the kernel does the same for every new group below.
  writeFileSync(`${to}/cgroup.clone_children`, "1");
}
