/**
 * What a container has used, in the form of runc's `events --stats`, which engines read: field names, units and what is
 * left out at 0 are runc's. Counters beyond 2^53 are bigints; `formatStats` writes them as JSON.
 */
import type { CgroupOwner } from "#runtime/cgroups/container-cgroup.ts";
import type { ContainerStats, EngineStats, NetworkInterfaceStats } from "#runtime/cgroups/stats-types.ts";
import { engineStatsV1, statsV1 } from "#runtime/cgroups/stats-v1.ts";
import { engineStatsV2, statsV2 } from "#runtime/cgroups/stats-v2.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** What isn't counted, or has gone, is 0 or missing. */
export function readContainerStats(
  layout: CgroupLayout,
  owner: CgroupOwner,
  networkInterfaces: NetworkInterfaceStats[] | null = null,
): ContainerStats {
  const stats = layout.version === 2 ? statsV2(layout, owner) : statsV1(layout, owner);
  return { ...stats, intel_rdt: {}, network_interfaces: networkInterfaces };
}

/** The same, of a third of the files. */
export function readEngineStats(layout: CgroupLayout, owner: CgroupOwner): EngineStats {
  return layout.version === 2 ? engineStatsV2(layout, owner) : engineStatsV1(layout, owner);
}

/** JSON on one line. Numbers of 64 bits stay exact, which JSON.stringify alone would round. */
export function formatStats(value: unknown): string {
  return JSON.stringify(value, (_, item) => (typeof item === "bigint" ? JSON_.rawJSON(String(item)) : item));
}

/** Newer than TypeScript's library. */
const JSON_ = JSON as typeof JSON & { rawJSON(text: string): unknown };
