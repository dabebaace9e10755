/** What the kernel counted in a container's control group: whether it ran out of memory. */
import { readFileSync } from "node:fs";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { isGone } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Has the kernel killed a process of this container for want of memory? False once the group has gone. */
export function wasOomKilled(layout: CgroupLayout, owner: CgroupOwner): boolean {
  const directory = controllerDirectory(layout, owner, "memory");
  if (directory === undefined) return false;
  const file = layout.version === 2 ? "memory.events" : "memory.oom_control";
  try {
    return oomKills(readFileSync(`${directory}/${file}`, "utf8")) > 0;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The count in memory.events or memory.oom_control; kernels before 4.13 have none in the latter. */
export function oomKills(text: string): number {
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}
