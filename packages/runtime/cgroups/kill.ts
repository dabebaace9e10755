/** A signal to every process in a container's control groups, also to those that are just being forked. */
import { writeFileSync } from "node:fs";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { freeze, isFrozenNow, thaw } from "#runtime/cgroups/freezer.ts";
import { containerProcesses, hasCode, isGone } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

const SIGKILL = 9;
/** A frozen group stands still long before; one that cannot is signalled as it is. */
const FREEZE_MS = 500;

/** Answers how many were there. What was paused stays so, but for SIGKILL, which is for all of them to take. */
export async function signalAll(layout: CgroupLayout, owner: CgroupOwner, signal: number): Promise<number> {
  if (signal === SIGKILL && layout.version === 2) {
    const killed = killGroup(layout, owner);
    if (killed !== undefined) return killed;
  }
  const paused = isFrozenNow(layout, owner);
  // So that none gets away by forking while the list is read.
  const held = paused || (await tried(freeze(layout, owner, { deadlineMs: FREEZE_MS })));
  try {
    const pids = containerProcesses(layout, owner);
    for (const pid of pids) signalOne(pid, signal);
    return pids.length;
  } finally {
    if (held && (!paused || signal === SIGKILL)) await tried(thaw(layout, owner));
  }
}

/** Linux 5.14: the kernel does it all at once, frozen or not. Undefined where it doesn't. */
function killGroup(layout: CgroupLayout, owner: CgroupOwner): number | undefined {
  const path = controllerDirectory(layout, owner, "");
  if (path === undefined) return undefined;
  const { length } = containerProcesses(layout, owner);
  try {
    // No directory entry may come of it where the kernel has no such file.
    writeFileSync(`${path}/cgroup.kill`, "1", { flag: "r+" });
    return length;
  } catch (error) {
    if (isGone(error) || hasCode(error, "EACCES", "EPERM")) return undefined;
    throw error;
  }
}

function signalOne(pid: number, signal: number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself.
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

/** There may be no freezer, or none that we may use. */
async function tried(step: Promise<void>): Promise<boolean> {
  return await step.then(
    () => true,
    () => false,
  );
}
