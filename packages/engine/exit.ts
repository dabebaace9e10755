/**
 * What happens when a container's main process has ended: the state is recorded, the event published, what the run
 * held is given back, those who wait are told, and then the restart policy or `--rm` has its say.
 *
 * Not queued: a queued stop waits for exactly this.
 */
import { rm } from "node:fs/promises";
import type { Container } from "#engine/container.ts";
import { publishContainerEvent } from "#engine/container-events.ts";
import { runDirectory } from "#engine/container-paths.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { removeContainer } from "#engine/remove.ts";
import { restartDelay, wantsRestart } from "#engine/restart-policy.ts";
import { startContainer } from "#engine/start.ts";
import { formatNanoseconds, parseNanoseconds } from "#engine/timestamps.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import { wasOomKilled } from "#runtime/cgroups/events.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";

/** Follows a shim to its end. Call once for each launch or reconnection. */
export function followToExit(context: EngineContext, container: Container, shim: ShimHandle): void {
  const settled = shim.exited.then((exit) => recordExit(context, container, exit));
  container.settled = settled.catch((error: unknown) =>
    context.logger.error("recording an exit failed", { container: container.id, error }),
  );
}

async function recordExit(context: EngineContext, container: Container, exit: ExitRecord): Promise<void> {
  const { record } = container;
  const { state } = record;
  state.OOMKilled = wasOomKilled(context.cgroups, record);
  state.ExitCode = exit.exitCode;
  state.FinishedAt = formatNanoseconds(exit.at);
  state.Pid = 0;
  container.live?.shim.close();
  container.live = undefined;
  container.lastExit = exit;
  const ranFor = exit.at - parseNanoseconds(state.StartedAt);
  const restart = !container.stopping && wantsRestart(record);
  container.setStatus(restart ? "restarting" : "exited");
  context.containers.save(container);
  if (state.OOMKilled) publishContainerEvent(context, container, "oom");
  publishContainerEvent(context, container, "die", {
    exitCode: String(exit.exitCode),
    execDuration: String(ranFor / 1_000_000_000n),
  });
  await releaseRun(context, container);
  const waiters = [...container.exitWaiters];
  container.exitWaiters.clear();
  for (const waiter of waiters) waiter(exit.exitCode);
  if (restart) scheduleRestart(context, container, ranFor);
  else if (record.hostConfig.AutoRemove) removeLater(context, container);
}

/** Gives back what one run held. Everything here may be repeated. */
export async function releaseRun(context: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  await context.networks.release(record.id);
  for (const mount of record.mounts) {
    if (mount.type === "volume") await context.volumes.unmount(mount.volume, record.id);
  }
  const cgroups = removeContainerCgroups(context.cgroups, record);
  const directory = rm(runDirectory(context.config, record.id), { recursive: true, force: true });
  // Nobody waits for these but the next start of the same container.
  const cleaned = Promise.all([cgroups, directory]);
  container.cleaned = cleaned.then(
    () => undefined,
    (error: unknown) => context.logger.warn("clean-up after a run failed", { container: record.id, error }),
  );
}

function removeLater(context: EngineContext, container: Container): void {
  context.background.run("automatic removal", () =>
    container.queue.run(async () => {
      if (container.record.phase === "present" && !container.isRunning) {
        await removeContainer(context, container, { force: false, volumes: true });
      }
    }),
  );
}

function scheduleRestart(context: EngineContext, container: Container, ranFor: bigint): void {
  const delay = restartDelay(container.record.restartCount, ranFor);
  if (delay.reset) container.record.restartCount = 0;
  container.restartTimer = setTimeout(() => {
    context.background.run("restart by policy", () =>
      container.queue.run(async () => {
        if (container.record.state.Status !== "restarting") return;
        container.record.restartCount++;
        await startContainer(context, container);
      }),
    );
  }, delay.milliseconds);
}
