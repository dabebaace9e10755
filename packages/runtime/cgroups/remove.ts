/**
 * The end of a container's control groups: whatever still runs in them is killed, then the directories go. Never on a
 * path anybody waits for: the kernel may need a moment until a group counts as empty.
 */
import { rmdirSync } from "node:fs";
import { readdir, rmdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { type CgroupOwner, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { isGone, readPids } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** First pause after a failed attempt, doubled each time, and how long in all. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 100;
const DEADLINE_MS = 10_000;

/** Removes the container's group from every hierarchy. Succeeds if there is none; throws "internal" if one won't go. */
export async function removeContainerCgroups(layout: CgroupLayout, owner: CgroupOwner): Promise<void> {
  await Promise.all(cgroupDirectories(layout, owner).map(({ path }) => removeGroup(path)));
}

async function removeGroup(path: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (isGone(error)) return;
      if (Date.now() > deadline) throw stuck(path, error);
    }
    await killAll(path);
    await removeBelow(path);
    await sleep(pause);
  }
}

/** Groups the container made inside its own. */
async function removeBelow(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const below = `${path}/${entry.name}`;
    await killAll(below);
    await removeBelow(below);
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
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
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
