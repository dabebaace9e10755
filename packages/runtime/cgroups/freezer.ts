/** `docker pause`: stopping and continuing everything in a container's control group. */
import { readFileSync } from "node:fs";
import { type FileHandle, open, readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** How often the kernel is asked whether all have stopped, and how long at most. */
const POLL_MS = 2;
const DEADLINE_MS = 10_000;
/** On version 1, after so many looks, it is thawed for a moment: a vfork in progress can keep it from ever freezing. */
const LOOKS_UNTIL_THAW = 50;

/** Resolves when every process stands still. Throws and thaws again if that doesn't come about. */
export async function freeze(
  layout: CgroupLayout,
  owner: CgroupOwner,
  { deadlineMs = DEADLINE_MS }: { deadlineMs?: number } = {},
): Promise<void> {
  const file = stateFile(layout, owner);
  // Opened before anything is frozen: without a descriptor later on, nobody could undo it.
  await using handle = await open(file.path, "r+");
  try {
    await freezeBy(handle, layout, file, deadlineMs);
  } catch (error) {
    await handle.write(file.thawed, 0);
    throw error;
  }
}

async function freezeBy(
  handle: FileHandle,
  layout: CgroupLayout,
  file: StateFile,
  deadlineMs: number,
): Promise<void> {
  await handle.write(file.frozen, 0);
  const deadline = Date.now() + deadlineMs;
  for (let look = 1; !(await isFrozen(layout, file.directory)); look++) {
    if (Date.now() > deadline) {
      throw new BerthError("internal", "cannot freeze all processes of the container in time", {
        operation: "pause container",
        object: file.directory,
        hint: "a process may hang in a system call (state D in ps); look at /proc/<pid>/stack",
      });
    }
    await sleep(POLL_MS);
    if (layout.version === 2) continue;
    if (look % LOOKS_UNTIL_THAW === 0) {
      await handle.write(file.thawed, 0);
      await sleep(POLL_MS);
    }
    // Version 1 forgets the wish when a new process slips in while freezing; repeating it is harmless.
    await handle.write(file.frozen, 0);
  }
}

/** Is everything in the container to stand still, whether or not it does already? Not, where it cannot be told. */
export function isToBeFrozen(layout: CgroupLayout, owner: CgroupOwner): boolean {
  try {
    const { path, thawed } = stateFile(layout, owner);
    return readFileSync(path, "utf8").trim() !== thawed;
  } catch {
    return false; // There is no freezer, or the group has gone or was never made.
  }
}

/** Resolves when nothing is held any more. */
export async function thaw(layout: CgroupLayout, owner: CgroupOwner): Promise<void> {
  const file = stateFile(layout, owner);
  await writeFile(file.path, file.thawed);
  const deadline = Date.now() + DEADLINE_MS;
  // A group above it may be frozen as well, which is not ours to change.
  while (layout.version === 2 && (await isFrozen(layout, file.directory)) && Date.now() < deadline) {
    if ((await readFile(file.path, "utf8")).trim() !== file.thawed) return;
    if (await isHeldFromAbove(file.directory)) return;
    await sleep(POLL_MS);
  }
}

async function isHeldFromAbove(directory: string): Promise<boolean> {
  const above = directory.slice(0, directory.lastIndexOf("/"));
  const text = await readFile(`${above}/cgroup.events`, "utf8").catch(() => "");
  return /^frozen 1$/m.test(text);
}

interface StateFile {
  directory: string;
  path: string;
  frozen: string;
  thawed: string;
}

function stateFile(layout: CgroupLayout, owner: CgroupOwner): StateFile {
  const directory = controllerDirectory(layout, owner, "freezer");
  if (directory === undefined) {
    throw new BerthError("not-implemented", "this host has no freezer control group", {
      operation: "pause container",
      hint: "mount one: mount -t cgroup -o freezer none /sys/fs/cgroup/freezer",
    });
  }
  return layout.version === 2
    ? { directory, path: `${directory}/cgroup.freeze`, frozen: "1", thawed: "0" }
    : { directory, path: `${directory}/freezer.state`, frozen: "FROZEN", thawed: "THAWED" };
}

async function isFrozen(layout: CgroupLayout, directory: string): Promise<boolean> {
  if (layout.version === 2) return /^frozen 1$/m.test(await readFile(`${directory}/cgroup.events`, "utf8"));
  return (await readFile(`${directory}/freezer.state`, "utf8")).trim() === "FROZEN";
}

/** Does everything in the container stand still at this moment? Not, where there is no freezer or no group. */
export function isFrozenNow(layout: CgroupLayout, owner: CgroupOwner): boolean {
  const directory = controllerDirectory(layout, owner, "freezer");
  return directory !== undefined && isGroupFrozen(layout, directory);
}

/** The same of one directory: of version 2, or of version 1's freezer. */
export function isGroupFrozen(layout: CgroupLayout, directory: string): boolean {
  try {
    if (layout.version === 2) return /^frozen 1$/m.test(readFileSync(`${directory}/cgroup.events`, "utf8"));
    return readFileSync(`${directory}/freezer.state`, "utf8").trim() === "FROZEN";
  } catch {
    return false; // It has gone, or was never made.
  }
}
