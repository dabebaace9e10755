/**
 * Other limits for a container that runs. Pure: what is asked for and what was set before → the files to be written, in
 * an order the kernel takes whatever the old values are. apply-update.ts does it.
 *
 * As in runc, 0 and a missing field leave a limit as it is, and devices are not changed.
 */
import type { CgroupWrite } from "#runtime/cgroups/cgroup-write.ts";
import { limitsV1 } from "#runtime/cgroups/limits-v1.ts";
import { limitsV2 } from "#runtime/cgroups/limits-v2.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

/** Fields in which 0 is a value, and not the lack of one. */
const ZERO_COUNTS = new Set(["idle", "burst", "swappiness"]);

/** The resources as they are after an update: what is stored, and what the next update goes out from. */
export function mergeResources(current: SpecResources, change: SpecResources): SpecResources {
  const { devices: _, ...others } = change;
  const merged = merge(current, others) as SpecResources;
  // Memory without a limit takes one on memory and swap along.
  if (change.memory?.limit === -1 && !change.memory.swap && merged.memory) merged.memory.swap = -1;
  return merged;
}

/** What of the merged resources is to be written for that change. */
export function changedResources(current: SpecResources, change: SpecResources): SpecResources {
  const merged = mergeResources(current, change);
  const { devices: _, ...sections } = change;
  const picked: SpecResources = merge({}, sections) as SpecResources;
  const { cpu, memory } = picked;
  if (cpu && (cpu.quota || cpu.period)) {
    // Version 2 has one file for both, and so has systemd.
    if (merged.cpu?.quota) cpu.quota = merged.cpu.quota;
    if (merged.cpu?.period) cpu.period = merged.cpu.period;
  }
  // A group that is idle no longer has the usual weight.
  if (cpu?.idle === 0 && merged.cpu?.shares) cpu.shares = merged.cpu.shares;
  if (memory?.swap && merged.memory?.limit) memory.limit = merged.memory.limit;
  if (memory?.limit === -1 && merged.memory?.swap) memory.swap = merged.memory.swap;
  return picked;
}

/** The ordered writes. Controllers the host lacks are the caller's to leave out. */
export function updateWrites(
  version: CgroupLayout["version"],
  current: SpecResources,
  change: SpecResources,
): CgroupWrite[] {
  const wanted = changedResources(current, change);
  return version === 2 ? limitsV2(wanted, { running: true }) : limitsV1(wanted, { running: true });
}

function merge(current: unknown, change: unknown): unknown {
  if (!isRecord(change)) return change;
  const merged: Record<string, unknown> = isRecord(current) ? { ...current } : {};
  for (const [key, value] of Object.entries(change)) {
    const says = Array.isArray(value)
      ? value.length > 0
      : value !== "" && (value !== 0 || ZERO_COUNTS.has(key));
    if (value === undefined || value === null || !says) continue;
    merged[key] = merge(merged[key], value);
  }
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
