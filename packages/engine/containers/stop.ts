/** Ending a container's main process: stop, kill, restart's first half. */

import type { Container } from "#engine/containers/container.ts";
import { abandonRestart, saveSurely } from "#engine/containers/exit.ts";
import { setFrozen } from "#engine/containers/pause.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { LONGEST_TIMER_MS } from "#engine/longest-timer.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { parseSignal } from "#runtime/signals.ts";

/** Seconds between the stop signal and SIGKILL where neither request nor container says otherwise (Docker's). */
const DEFAULT_GRACE = 10;
/** How long a SIGKILL may take to show before the stop is reported as failed; the process is then stuck in the kernel. */
const KILL_PATIENCE_MS = 30_000;

/** Asks, waits, then kills. Call inside the container's queue. "not-modified" if it does not run. */
export async function stopContainer(
  context: EngineContext,
  container: Container,
  options: { signal?: string; timeout?: number },
): Promise<void> {
  if (!container.isRunning) {
    throw new BerthError("not-modified", `Container ${container.id} is already stopped`, {
      operation: "stop container",
      object: container.record.name,
    });
  }
  const { config } = container.record;
  const signal = parseSignal(options.signal || config.StopSignal || "SIGTERM");
  if (container.record.state.Restarting) {
    abandonRestart(context, container, { inQueue: true });
  } else {
    const grace = options.timeout ?? config.StopTimeout ?? DEFAULT_GRACE;
    container.record.endWanted = true;
    await sendSignal(context, container, signal);
    if (!(await exitsWithin(container, grace < 0 ? undefined : grace * 1000))) {
      await sendSignal(context, container, SIGKILL);
      await mustExit(container);
    }
  }
  publishContainerEvent(context, container, "stop");
}

const SIGKILL = 9;

/** Kills and waits for the end: for a forced removal. Call inside the container's queue. */
export async function killAndWait(context: EngineContext, container: Container): Promise<void> {
  if (!container.isRunning) return;
  if (container.record.state.Restarting) {
    abandonRestart(context, container, { inQueue: true });
    return;
  }
  await sendSignal(context, container, SIGKILL);
  await mustExit(container);
}

function toBeKilled(context: EngineContext, nameOrId: string): Container {
  try {
    return context.containers.get(nameOrId);
  } catch (cause) {
    if (!isBerthError(cause, "not-found")) throw cause;
    throw new BerthError("not-found", `cannot kill container: ${nameOrId}: ${cause.message}`, {
      operation: "kill container",
      object: nameOrId,
      cause,
    });
  }
}

/** `docker kill`: sends the signal and does not wait, except for SIGKILL, which dockerd waits for too. */
export async function killContainer(
  context: EngineContext,
  nameOrId: string,
  signalName: string,
): Promise<void> {
  const signal = parseSignal(signalName || "SIGKILL");
  const container = toBeKilled(context, nameOrId);
  if (!container.isRunning) {
    throw new BerthError(
      "conflict",
      `cannot kill container: ${container.record.name}: container ${container.id} is not running`,
      { operation: "kill container", object: container.record.name },
    );
  }
  if (container.record.state.Restarting) {
    // As dockerd has it: a container that waits for its restart ends by any signal.
    if (abandonRestart(context, container, { inQueue: false })) return;
    // A start is under way: it gets its signal when that is done.
    await container.queue.run(async () => {});
    if (!container.isRunning) return;
  }
  await sendSignal(context, container, signal);
  if (signal === SIGKILL) await mustExit(container);
}

/**
 * Sends it, with what it means to restart policies: SIGKILL, the container's own stop signal, and any signal where it
 * has named none, say that its end is wanted. What is paused goes on to take such a signal.
 */
async function sendSignal(context: EngineContext, container: Container, signal: number): Promise<void> {
  const { record } = container;
  const own = record.config.StopSignal;
  const ends = signal === SIGKILL || !own || parseSignal(own) === signal;
  if (ends) container.record.endWanted = true;
  if (signal === SIGKILL) container.killed = true;
  record.manuallyStopped = true;
  // What cannot be stored now is sent all the same: a full disk must not keep anybody from killing.
  void saveSurely(context, container);
  container.live?.shim.signal(signal);
  publishContainerEvent(context, container, "kill", { signal: String(signal) });
  if (ends && record.state.Paused) await setFrozen(context, container, false);
}

async function mustExit(container: Container): Promise<void> {
  if (await exitsWithin(container, KILL_PATIENCE_MS)) return;
  throw new BerthError(
    "internal",
    `cannot stop container: ${container.record.name}: tried to kill container, but did not receive an exit event`,
    {
      operation: "stop container",
      object: container.record.name,
      hint: `process ${container.record.state.Pid} is stuck in the kernel; see /proc/${container.record.state.Pid}/stack`,
    },
  );
}

/** Resolves true once the container's end is fully recorded, false after `milliseconds` (undefined: no limit). */
export function exitsWithin(container: Container, milliseconds: number | undefined): Promise<boolean> {
  if (!container.isRunning) return container.settled.then(() => true);
  return new Promise((resolve) => {
    const timer =
      milliseconds === undefined
        ? undefined
        : setTimeout(
            () => {
              container.exitWaiters.delete(onExit);
              resolve(false);
            },
            Math.min(milliseconds, LONGEST_TIMER_MS),
          );
    const onExit = () => {
      clearTimeout(timer);
      resolve(true);
    };
    container.exitWaiters.add(onExit);
  });
}
