/** `events`: what a container uses, now and then, and when it runs out of memory. */
import { setTimeout as sleep } from "node:timers/promises";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { isAlive } from "#oci/container-status.ts";
import type { StoredContainer } from "#oci/state-directory.ts";
import { watchOom } from "#runtime/cgroups/oom-events.ts";
import { formatStats, readContainerStats } from "#runtime/cgroups/stats.ts";

/** How often to look whether the container is still there, ms. */
const LOOK_MS = 100;

/** One line of JSON, as runc prints it. */
export function statsEvent({ id, cgroupOwner }: StoredContainer): string {
  return formatStats({ type: "stats", id, data: readContainerStats(readCgroupLayout(), cgroupOwner) });
}

/** Tells an event a line until the container has ended. `interval` in milliseconds. */
export async function followEvents(
  container: StoredContainer,
  interval: number,
  tell: (line: string) => void,
): Promise<void> {
  const { id, cgroupOwner } = container;
  const watch = watchOom(readCgroupLayout(), cgroupOwner, () => tell(JSON.stringify({ type: "oom", id })));
  let next = Date.now() + interval;
  while (isAlive(container)) {
    await sleep(Math.min(LOOK_MS, Math.max(next - Date.now(), 1)));
    if (Date.now() < next || !isAlive(container)) continue;
    tell(statsEvent(container));
    next += interval;
  }
  watch.stop();
}
