/** What the kernel counted in a container's control group: whether it ran out of memory. */
import { readFileSync } from "node:fs";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { isGone } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** How many processes of this container has the kernel killed for want of memory? None once the group has gone. */
export function readOomKills(layout: CgroupLayout, owner: CgroupOwner): number {
  const directory = controllerDirectory(layout, owner, "memory");
  if (directory === undefined) return 0;
  const file = layout.version === 2 ? "memory.events" : "memory.oom_control";
  try {
    return oomKills(readFileSync(`${directory}/${file}`, "utf8"));
  } catch (error) {
    if (isGone(error)) return 0;
    throw error;
  }
}

/** The count in memory.events or memory.oom_control; kernels before 4.13 have none in the latter. */
export function oomKills(text: string): number {
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}
