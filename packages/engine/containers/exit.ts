/**
 * What happens when a container's main process has ended: the state is recorded, the event published, what the run
 * held is given back, those who wait are told, and then the restart policy or `--rm` has its say.
 *
 * Not queued: a queued stop waits for exactly this.
 */
import type { Container } from "#engine/containers/container.ts";
import { runDirectory } from "#engine/containers/container-paths.ts";
import { joinedContainers } from "#engine/containers/joined-containers.ts";
import { removeContainer } from "#engine/containers/remove.ts";
import { nextBackoff, wantsRestart } from "#engine/containers/restart-policy.ts";
import { startContainer } from "#engine/containers/start.ts";
import { discardDirectory } from "#engine/discard-directory.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent, publishNetworkEvents } from "#engine/events/container-events.ts";
import { forgetUnstarted } from "#engine/exec/run-exec.ts";
import { stopHealthMonitor } from "#engine/health/health-monitor.ts";
import { planLogs } from "#engine/launch/log-plan.ts";
import { releaseMounts } from "#engine/mounts/mount-sources.ts";
import { formatNanoseconds, parseNanoseconds } from "#engine/timestamps.ts";
import { NOTE } from "#program/frames.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import { readOomKills } from "#runtime/cgroups/events.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";

/** Follows a shim to its end. Call once for each launch or reconnection. */
export function followToExit(context: EngineContext, container: Container, shim: ShimHandle): void {
  followLogs(context, container, shim.exited);
  tellRotations(context, container, shim);
  const settled = shim.exited.then((exit) => recordExit(context, container, exit));
  container.settled = settled.catch((error: unknown) =>
    context.logger.error("recording an exit failed", { container: container.id, error }),
  );
}

/**
 * Passes the output on, and compresses it, as its driver wants it: until `ended`, and what is left then. The output
 * itself needs none of this.
 */
export function followLogs(context: EngineContext, container: Container, ended: Promise<unknown>): void {
  try {
    const logs = planLogs(container.record, context.config);
    if (logs !== undefined) context.logs.follow(container.id, logs, ended);
  } catch (error) {
    // Options that made sense when it was started: a certificate may be gone.
    context.logger.warn("log output stays here", { container: container.id, error });
  }
}

function tellRotations(context: EngineContext, container: Container, shim: ShimHandle): void {
  shim.onNote((kind) => {
    if (kind === NOTE.ROTATED) context.logs.rotated(container.id);
  });
}

async function recordExit(context: EngineContext, container: Container, exit: ExitRecord): Promise<void> {
  const { record } = container;
  const { state } = record;
  const kills = readOomKills(context.cgroups, record);
  const untold = kills - container.oomKillsTold;
  if (untold > 0) state.OOMKilled = true;
  state.ExitCode = exit.exitCode;
  state.FinishedAt = formatNanoseconds(exit.at);
  state.Pid = 0;
  container.live?.shim.close();
  container.live = undefined;
  container.lastExit = exit;
  const ranFor = exit.at - parseNanoseconds(state.StartedAt);
  container.backoff = nextBackoff(container.backoff, ranFor);
  const restart = !container.record.endWanted && wantsRestart(record);
  if (restart) record.restartCount++;
  container.setStatus(restart ? "restarting" : "exited");
  stopHealthMonitor(container);
  forgetUnstarted(context, container);
  context.containers.save(container);
  if (untold > 0) publishContainerEvent(context, container, "oom");
  publishContainerEvent(context, container, "die", {
    execDuration: String(ranFor / 1_000_000_000n),
    exitCode: String(exit.exitCode),
  });
  await releaseRun(context, container);
  // The policy before the waiters: who is told of the end may look at once.
  if (restart) scheduleRestart(context, container);
  tellExitWaiters(container);
  if (!restart && record.hostConfig.AutoRemove && !container.restartingByHand)
    removeLater(context, container);
}

/** Lets everybody go who waited for an end. */
export function tellExitWaiters(container: Container): void {
  const waiters = [...container.exitWaiters];
  container.exitWaiters.clear();
  for (const waiter of waiters) waiter(container.record.state.ExitCode);
}

/** Gives back what one run held. Everything here may be repeated. */
export async function releaseRun(context: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  publishNetworkEvents(context, record.id, "disconnect");
  await context.networks.release(record.id);
  await releaseMounts(context, record);
  const cgroups = removeContainerCgroups(context.cgroups, record);
  const directory = discardDirectory(runDirectory(context.config, record.id));
  // Nobody waits for these but the next start of the same container.
  const cleaned = Promise.all([cgroups, directory]);
  container.cleaned = cleaned.then(
    () => undefined,
    (error: unknown) => context.logger.warn("clean-up after a run failed", { container: record.id, error }),
  );
}

function removeLater(context: EngineContext, container: Container): void {
  void context.background.run("automatic removal", () =>
    container.queue.run(async () => {
      if (container.record.phase === "present" && !container.isRunning) {
        await removeContainer(context, container, { force: false, volumes: true });
      }
    }),
  );
}

function scheduleRestart(context: EngineContext, container: Container): void {
  // Somebody may have wanted it gone while the run was given back.
  if (container.record.state.Status !== "restarting") return;
  container.restartTimer = setTimeout(() => {
    container.restartTimer = undefined;
    void context.background.run("restart by policy", () =>
      container.queue.run(async () => {
        if (container.record.state.Status !== "restarting") return;
        // Both ended together, and the other one comes first.
        if (joinedContainers(context, container).some(({ record }) => record.state.Restarting)) {
          scheduleRestart(context, container);
          return;
        }
        await startContainer(context, container, { byPolicy: true });
      }),
    );
  }, container.backoff);
}

/**
 * It waits for its restart and shall not have it: from now on it has ended. Answers false where a start is under way
 * already, which has to be waited for.
 */
export function abandonRestart(
  context: EngineContext,
  container: Container,
  { inQueue }: { inQueue: boolean },
): boolean {
  const { record } = container;
  container.record.endWanted = true;
  if (record.state.Status !== "restarting") return true;
  // Outside its queue only the timer tells that nothing has begun.
  if (!inQueue && container.restartTimer === undefined) return false;
  clearTimeout(container.restartTimer);
  container.restartTimer = undefined;
  record.manuallyStopped = true;
  container.setStatus("exited");
  context.containers.save(container);
  tellExitWaiters(container);
  return true;
}
