/** `kill`: a signal to the first process, or to all of a container's. */
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { isAlive } from "#oci/container-status.ts";
import type { StoredContainer } from "#oci/state-directory.ts";
import { signalAll } from "#runtime/cgroups/kill.ts";

/** Throws "conflict", in the words that callers look for, when the first process has ended (unless that is no matter). */
export function sendSignal(container: StoredContainer, signal: number, { ended = false } = {}): void {
  if (isAlive(container) && signalProcess(container.pid, signal)) return;
  if (ended) return;
  throw new BerthError("conflict", "container not running", {
    operation: "kill container",
    object: container.id,
  });
}

/** All processes of its control groups: also what an ended first process has left, where it had the host's pid namespace. */
export async function sendSignalToAll(container: StoredContainer, signal: number): Promise<void> {
  await signalAll(readCgroupLayout(), container.cgroupOwner, signal);
}

/** Answers whether there was such a process. */
function signalProcess(pid: number, signal: number): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
