/**
 * The end of a container's control groups: whatever still runs in them is killed, then the directories go. Never on a
 * path anybody waits for: the kernel may need a moment until a group counts as empty. A group that was there before the
 * container is emptied and stays.
 */
import { rmdirSync } from "node:fs";
import { rmdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { type CgroupOwner, cgroupDirectories, placementOf } from "#runtime/cgroups/container-cgroup.ts";
import { signalAll } from "#runtime/cgroups/kill.ts";
import { groupsBelow, hasCode, isGone, processesBelow, readPids } from "#runtime/cgroups/processes.ts";
import { stopScope } from "#runtime/cgroups/systemd-scope.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** First pause after a failed attempt, doubled each time, and how long in all. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 100;
const DEADLINE_MS = 10_000;
const SIGKILL = 9;

/** Removes the container's group from every hierarchy. Succeeds if there is none; throws "internal" if one won't go. */
export async function removeContainerCgroups(layout: CgroupLayout, owner: CgroupOwner): Promise<void> {
  const placed = placementOf(owner);
  const kept = new Set(placed?.kept);
  if (placed?.unit !== undefined) {
    // systemd would ask the processes to end, and wait for them.
    await signalAll(layout, owner, SIGKILL);
    await stopScope(placed.unit);
  }
  await Promise.all(
    cgroupDirectories(layout, owner).map(({ path }) =>
      kept.has(path) ? emptyGroup(path) : removeGroup(path),
    ),
  );
}

async function removeGroup(path: string): Promise<void> {
  await persist(path, async () => {
    try {
      rmdirSync(path);
      return true;
    } catch (error) {
      if (isGone(error)) return true;
      if (hasCode(error, "EACCES", "EPERM", "EROFS")) throw stuck(path, error);
      await killAll(path);
      await removeBelow(path);
      return false;
    }
  });
}

/** Of a group that stays, only what has come with the container goes. */
async function emptyGroup(path: string): Promise<void> {
  await persist(path, async () => {
    await killAll(path);
    await removeBelow(path);
    return groupsBelow(path).length <= 1 && processesBelow(path).length === 0;
  });
}

/** Tries with growing pauses until it is done. */
async function persist(path: string, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  for (let pause = FIRST_PAUSE_MS; !(await attempt()); pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    if (Date.now() > deadline) throw stuck(path, new Error("it is still in use"));
    await sleep(pause);
  }
}

/** Groups the container made inside its own, innermost first. */
async function removeBelow(path: string): Promise<void> {
  for (const below of groupsBelow(path).slice(1).reverse()) {
    await killAll(below);
    // Busy ones are tried again in the next round.
    await rmdir(below).catch(() => undefined);
  }
}

/** Kills every process in the group; frozen ones die once thawed. */
async function killAll(path: string): Promise<void> {
  const pids = readPids(`${path}/cgroup.procs`);
  if (pids.length === 0) return;
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      // It ended by itself.
      if (!hasCode(error, "ESRCH")) throw error;
    }
  }
  await writeFile(`${path}/freezer.state`, "THAWED").catch(() => undefined);
  await writeFile(`${path}/cgroup.freeze`, "0").catch(() => undefined);
}

function stuck(path: string, cause: unknown): BerthError {
  return new BerthError("internal", `control group ${path} cannot be removed: ${cause}`, {
    operation: "remove control group",
    object: path,
    hint: "a process in it may hang in the kernel: see its cgroup.procs",
    cause,
  });
}
