/** `delete`: gives back everything a container held; with force also what still runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { isAlive, ociState, statusOf } from "#oci/container-status.ts";
import { runHooks } from "#oci/hooks.ts";
import { sendSignal } from "#oci/kill.ts";
import { removeRdtGroup } from "#oci/rdt-group.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { warn } from "#oci/warnings.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";

const SIGKILL = 9;
/** How often to look whether a killed process is gone, ms, and how often at most. */
const PAUSE_MS = 10;
const LOOKS = 1000;

/** Throws "not-found" (not with force), "conflict" for one that still runs. */
export async function deleteContainer(
  states: StateDirectory,
  id: string,
  { force }: { force: boolean },
): Promise<void> {
  const container = states.find(id);
  if (container === undefined) {
    if (!states.taken(id) && !force) states.load(id);
    // A creation that was cut short before anything was made.
    states.remove(id);
    return;
  }
  const status = statusOf(states, container);
  if (status !== "stopped") {
    if (!force && status !== "created") {
      throw new BerthError("conflict", `cannot delete container ${id} that is not stopped: ${status}`, {
        operation: "delete container",
        object: id,
        hint: "kill it first, or use --force",
      });
    }
    await end(container);
  }
  await removeContainerCgroups(readCgroupLayout(), container.cgroupOwner);
  removeRdtGroup(id, container.spec);
  states.remove(id);
  // The specification has a failure here logged and nothing else.
  await runHooks(container.spec, "poststop", ociState(container, "stopped")).catch((error: Error) =>
    warn(error.message),
  );
}

async function end(container: StoredContainer): Promise<void> {
  sendSignal(container, SIGKILL, { ended: true });
  for (let look = 0; look < LOOKS && isAlive(container); look++) await sleep(PAUSE_MS);
}
