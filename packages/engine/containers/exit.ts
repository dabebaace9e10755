/**
 * What happens when a container's main process has ended: the state is recorded, the event published, what the run
 * held is given back, those who wait are told, and then the restart policy or `--rm` has its say.
 *
 * Not queued: a queued stop waits for exactly this.
 */
import { setImmediate as immediate } from "node:timers/promises";
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
import { formatNanoseconds, nowNanoseconds, parseNanoseconds } from "#engine/timestamps.ts";
import { NOTE } from "#program/frames.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import { throughShortage } from "#program/shortage.ts";
import { readOomKills } from "#runtime/cgroups/events.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";

/** Milliseconds between two tries to store an end, or a removal; a full disk may take its time. */
const SAVE_AGAIN_MS = 1000;

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
  const { record, times } = container;
  const { state } = record;
  times.begin("end", performance.now() - Number(nowNanoseconds() - exit.at) / 1e6);
  times.mark("end", "output logged, exit recorded, daemon told");
  const untold = oomKillsOf(context, container) - container.oomKillsTold;
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
  const saved = saveSurely(context, container);
  if (untold > 0) publishContainerEvent(context, container, "oom");
  publishContainerEvent(context, container, "die", {
    execDuration: String(ranFor / 1_000_000_000n),
    exitCode: String(exit.exitCode),
  });
  times.mark("end", "row, events");
  await releaseRun(context, container, saved);
  times.mark("end", "addresses given back");
  // The policy before the waiters: who is told of the end may look at once.
  // Killed while the run was given back, it had neither a process nor a timer yet.
  if (restart && record.endWanted) abandonRestart(context, container, { inQueue: true });
  else if (restart) scheduleRestart(context, container);
  tellExitWaiters(container);
  if (!restart && record.hostConfig.AutoRemove && !container.restartingByHand)
    removeLater(context, container);
}

/** What cannot be read now (no descriptor is left) must not keep an end from being told. */
function oomKillsOf(context: EngineContext, container: Container): number {
  try {
    return readOomKills(context.cgroups, container.record);
  } catch (error) {
    context.logger.warn("whether it ran out of memory is not known", { container: container.id, error });
    return container.oomKillsTold;
  }
}

/** Stores at once, or as soon as that can be done. Resolves when the end is stored: until then the run's own record of it is the only one. */
export async function saveSurely(context: EngineContext, container: Container): Promise<void> {
  for (let told = false; ; told = true) {
    try {
      context.containers.save(container);
      return;
    } catch (error) {
      if (!told) context.logger.error("a container cannot be stored yet", { container: container.id, error });
    }
    await new Promise((resolve) => setTimeout(resolve, SAVE_AGAIN_MS).unref());
  }
}

/** Lets everybody go who waited for an end. */
export function tellExitWaiters(container: Container): void {
  const waiters = [...container.exitWaiters];
  container.exitWaiters.clear();
  for (const waiter of waiters) waiter(container.record.state.ExitCode);
}

/**
 * Gives back what one run held. Everything here may be repeated, and what fails keeps nothing else from happening. The
 * run's directory, which tells how it ended, goes when `stored` has resolved.
 */
export async function releaseRun(
  context: EngineContext,
  container: Container,
  stored: Promise<void> = Promise.resolve(),
): Promise<void> {
  const { record } = container;
  const failed = (error: unknown) =>
    context.logger.error("giving back what a run held failed", { container: record.id, error });
  publishNetworkEvents(context, record.id, "disconnect");
  await context.networks.release(record.id).catch(failed);
  await releaseMounts(context, record).catch(failed);
  await context.held.release(record.id).catch(failed);
  // Who waits for the end is told first.
  const cgroups = immediate().then(() =>
    throughShortage(() => removeContainerCgroups(context.cgroups, record)),
  );
  // By this one the next daemon knows that there is something to be given back: it is the last to go.
  const others = Promise.allSettled([stored, cgroups]);
  const directory = others.then(() => discardDirectory(runDirectory(context.config, record.id)));
  // Nobody waits for these but the next start of the same container.
  const cleaned = Promise.all([cgroups, directory]);
  container.cleaned = cleaned.then(
    () => undefined,
    (error: unknown) => context.logger.warn("clean-up after a run failed", { container: record.id, error }),
  );
}

function removeLater(context: EngineContext, container: Container, again = false): void {
  void context.background.run("automatic removal", () =>
    container.queue.run(() => removeSurely(context, container, again)),
  );
}

/**
 * The automatic removal, at once, or as soon as it can be stored: nobody else would try again. Call inside the container's
 * queue; the next tries queue by themselves. `again`: what keeps it has been told.
 */
export async function removeSurely(
  context: EngineContext,
  container: Container,
  again = false,
): Promise<void> {
  // Somebody may have started it again.
  if (container.isRunning) return;
  try {
    await removeContainer(context, container, { force: false, volumes: true });
  } catch (error) {
    if (!again) {
      context.logger.error("a container cannot be removed yet", { container: container.id, error });
    }
    // No work that a shutdown waits for: the next daemon tries, too.
    setTimeout(() => removeLater(context, container, true), SAVE_AGAIN_MS).unref();
  }
}

/** The start that a policy has decided on, when its pause is over. */
export function scheduleRestart(context: EngineContext, container: Container): void {
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
  void saveSurely(context, container);
  tellExitWaiters(container);
  return true;
}
