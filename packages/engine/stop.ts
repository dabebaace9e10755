/** Ending a container's main process: stop, kill, restart's first half. */

import type { Container } from "#engine/container.ts";
import { publishContainerEvent } from "#engine/container-events.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";
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
  container.stopping = true;
  container.record.manuallyStopped = true;
  try {
    const signal = parseSignal(options.signal || config.StopSignal || "SIGTERM");
    const grace = options.timeout ?? config.StopTimeout ?? DEFAULT_GRACE;
    sendSignal(context, container, signal);
    if (!(await exitsWithin(container, grace < 0 ? undefined : grace * 1000))) {
      sendSignal(context, container, SIGKILL);
      await mustExit(container);
    }
    publishContainerEvent(context, container, "stop");
  } finally {
    container.stopping = false;
  }
}

const SIGKILL = 9;

/** Kills and waits for the end: for a forced removal. */
export async function killAndWait(context: EngineContext, container: Container): Promise<void> {
  if (!container.isRunning) return;
  container.stopping = true;
  try {
    sendSignal(context, container, SIGKILL);
    await mustExit(container);
  } finally {
    container.stopping = false;
  }
}

/** `docker kill`: sends the signal and does not wait, except for SIGKILL, which dockerd waits for too. */
export async function killContainer(
  context: EngineContext,
  container: Container,
  signalName: string,
): Promise<void> {
  const signal = parseSignal(signalName || "SIGKILL");
  if (!container.isRunning) {
    throw new BerthError(
      "conflict",
      `cannot kill container: ${container.record.name}: container ${container.id} is not running`,
      { operation: "kill container", object: container.record.name },
    );
  }
  if (signal === SIGKILL) {
    container.record.manuallyStopped = true;
    await killAndWait(context, container);
  } else {
    sendSignal(context, container, signal);
  }
}

function sendSignal(context: EngineContext, container: Container, signal: number): void {
  container.live?.shim.signal(signal);
  publishContainerEvent(context, container, "kill", { signal: String(signal) });
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
        : setTimeout(() => {
            container.exitWaiters.delete(onExit);
            resolve(false);
          }, milliseconds);
    const onExit = () => {
      clearTimeout(timer);
      resolve(true);
    };
    container.exitWaiters.add(onExit);
  });
}
