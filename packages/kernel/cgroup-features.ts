/** What this kernel's control groups can do beyond what all of them can. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Does the kernel limit swap by cgroup? (CONFIG_MEMCG_SWAP; on version 1 the memsw files are there only then.) */
export function hasSwapAccounting(layout: CgroupLayout): boolean {
  if (layout.version === 2) return layout.v2Controllers.includes("memory") && existsSync("/proc/swaps");
  const memory = layout.v1.memory;
  return memory !== undefined && existsSync(join(memory, "memory.memsw.limit_in_bytes"));
}

/** Are there shares of real-time scheduling by group? (CONFIG_RT_GROUP_SCHED; version 2 has none.) */
export function hasRealtimeShares(layout: CgroupLayout): boolean {
  return layout.v1.cpu !== undefined && existsSync(join(layout.v1.cpu, "cpu.rt_runtime_us"));
}

/** Can block devices be weighed against each other? Version 1 has files for it only with a scheduler that can. */
export function hasBlockWeights(layout: CgroupLayout): boolean {
  if (layout.version === 2) return layout.v2Controllers.includes("io");
  const blkio = layout.v1.blkio;
  const files = ["blkio.weight", "blkio.bfq.weight"];
  return blkio !== undefined && files.some((file) => existsSync(join(blkio, file)));
}
