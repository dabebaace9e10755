/**
 * Writes other limits for a running container: all of them, or, where the kernel refuses one, none.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import type { CgroupWrite } from "#runtime/cgroups/cgroup-write.ts";
import { checkResources } from "#runtime/cgroups/check-resources.ts";
import {
  type CgroupDirectory,
  type CgroupOwner,
  cgroupDirectories,
  placementOf,
} from "#runtime/cgroups/container-cgroup.ts";
import { hasCode, isGone } from "#runtime/cgroups/processes.ts";
import { updateScope } from "#runtime/cgroups/systemd-scope.ts";
import { changedResources, mergeResources, updateWrites } from "#runtime/cgroups/update.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

/**
 * Answers the container's resources from now on, to be kept with its state. Throws "invalid", naming the field, for what
 * cannot be, and "conflict" for what the kernel refuses now.
 */
export async function updateCgroups(
  layout: CgroupLayout,
  owner: CgroupOwner,
  { current, change }: { current: SpecResources; change: SpecResources },
): Promise<SpecResources> {
  const merged = mergeResources(current, change);
  const { devices: _, ...limits } = merged;
  checkResources(limits, layout, owner);
  const directories = cgroupDirectories(layout, owner);
  if (layout.version === 2 && merged.memory?.checkBeforeUpdate) {
    refuseBelowUsage(directories[0], changedResources(current, change));
  }
  const unit = placementOf(owner)?.unit;
  if (unit !== undefined) await updateScope(unit, changedResources(current, change), layout.version);
  const undo: (() => void)[] = [];
  try {
    for (const write of updateWrites(layout.version, current, change)) {
      const directory = directories.find(
        ({ controllers }) => layout.version === 2 || controllers.includes(write.controller),
      );
      if (directory !== undefined) apply(directory.path, write, undo);
    }
  } catch (error) {
    for (const step of undo.reverse()) step();
    if (unit !== undefined) await updateScope(unit, current, layout.version).catch(() => undefined);
    throw error;
  }
  return merged;
}

function apply(directory: string, write: CgroupWrite, undo: (() => void)[]): void {
  const path = `${directory}/${write.file}`;
  if (write.unless !== undefined && existsSync(`${directory}/${write.unless}`)) return;
  const before = formerValue(path, write.value);
  try {
    // Never O_CREAT: where the file is missing, that shall be the error.
    writeFileSync(path, write.value, { flag: "r+" });
  } catch (error) {
    if (write.optional && isGone(error)) return;
    if (write.again && hasCode(error, "EINVAL")) return;
    throw explained(directory, write, error);
  }
  if (before !== undefined && before !== "") undo.push(() => restore(path, before));
}

/** As it has to be written to be so again; undefined for files of entries for devices, which aren't taken back. */
function formerValue(path: string, value: string): string | undefined {
  if (/^\d+:\d+ /.test(value)) return undefined;
  try {
    return readFileSync(path, "utf8").split("\n")[0];
  } catch {
    return undefined; // Not there, or not to be read; writing it says more.
  }
}

function restore(path: string, value: string): void {
  try {
    writeFileSync(path, value, { flag: "r+" });
  } catch {
    // The failure that led here is what is told.
  }
}

function refuseBelowUsage(directory: CgroupDirectory | undefined, { memory }: SpecResources): void {
  if (directory === undefined || memory === undefined) return;
  const read = (file: string) => {
    try {
      return Number(readFileSync(`${directory.path}/${file}`, "utf8"));
    } catch {
      return 0; // Not counted here.
    }
  };
  const usage = read("memory.current");
  const refuse = (message: string) =>
    new BerthError("conflict", message, {
      operation: "update container",
      object: directory.path,
      hint: "without linux.resources.memory.checkBeforeUpdate the kernel would reclaim memory, and kill for it",
    });
  if (memory.limit && memory.limit > 0 && usage > memory.limit) {
    throw refuse(`rejecting memory limit ${memory.limit} because of the usage ${usage}`);
  }
  const both = usage + read("memory.swap.current");
  if (memory.swap && memory.swap > 0 && both >= memory.swap) {
    throw refuse(`rejecting memory+swap limit ${memory.swap} <= usage ${both}`);
  }
}

function explained(directory: string, { file, value }: CgroupWrite, cause: unknown): unknown {
  const detail = { operation: "update container", object: directory, cause };
  if (isGone(cause))
    return new BerthError("invalid", `cannot set ${file}: the kernel has no such limit here`, detail);
  if (file === "memory.limit_in_bytes" && hasCode(cause, "EBUSY")) {
    const read = (name: string) => readFileSync(`${directory}/memory.${name}`, "utf8").trim();
    return new BerthError(
      "conflict",
      `unable to set memory limit to ${value} (current usage: ${read("usage_in_bytes")}, peak usage: ${read("max_usage_in_bytes")})`,
      detail,
    );
  }
  const why = cause instanceof Error && "code" in cause ? cause.code : cause;
  return new BerthError("conflict", `cannot set ${file} to ${value}: ${why}`, detail);
}
