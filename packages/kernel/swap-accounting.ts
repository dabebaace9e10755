/** Does the kernel limit swap by cgroup? (CONFIG_MEMCG_SWAP; on version 1 the memsw files are there only then.) */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CgroupLayout } from "#runtime/launch-types.ts";

export function hasSwapAccounting(layout: CgroupLayout): boolean {
  if (layout.version === 2) return layout.v2Controllers.includes("memory") && existsSync("/proc/swaps");
  const memory = layout.v1.memory;
  return memory !== undefined && existsSync(join(memory, "memory.memsw.limit_in_bytes"));
}
