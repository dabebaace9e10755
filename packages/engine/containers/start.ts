/**
 * Starting a container: everything the run needs is taken, compiled into a program, and handed to the launcher. When
 * any step fails, all that was taken is given back and the container is as it was, with the reason in its state.
 */
import { existsSync, mkdirSync } from "node:fs";
import type { Container } from "#engine/containers/container.ts";
import { runDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { refuseLost } from "#engine/containers/damaged-records.ts";
import {
  followToExit,
  releaseRun,
  removeSurely,
  saveSurely,
  tellExitWaiters,
} from "#engine/containers/exit.ts";
import { discardDirectory } from "#engine/discard-directory.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { initHealth, updateHealthMonitor } from "#engine/health/health-monitor.ts";
import { launchToKeep } from "#engine/launch/describe-program.ts";
import { prepareLaunch } from "#engine/launch/prepare-launch.ts";
import { tellLinking } from "#engine/networking/legacy-links.ts";
import { abandonPending, connectPending } from "#engine/streams/attach.ts";
import { formatNanoseconds, nowNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";
import { BerthError } from "#errors/errors.ts";
import { readStartTicks } from "#kernel/process-status.ts";
import { NOTE } from "#program/frames.ts";
import { throughShortage } from "#program/shortage.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { explainStartFailure } from "#runtime/explain.ts";
import type { CompiledLaunch } from "#runtime/launch-types.ts";

/**
 * Call inside the container's queue. "not-modified" if it runs, or waits for its restart, already. `byPolicy`: nobody
 * asked for it, so that what is counted for the restart policy goes on.
 */
export async function startContainer(
  context: EngineContext,
  container: Container,
  { byPolicy = false }: { byPolicy?: boolean } = {},
): Promise<void> {
  const { record } = container;
  const detail = { operation: "start container", object: record.name };
  if (record.phase !== "present") {
    throw new BerthError("conflict", "container is marked for removal and cannot be started", detail);
  }
  if (record.state.Paused) {
    throw new BerthError("conflict", "cannot start a paused container, try unpause instead", detail);
  }
  if (record.state.Running && !(byPolicy && record.state.Restarting)) {
    throw new BerthError("not-modified", `Container ${record.id} is already running`, detail);
  }
  refuseLost(record);
  await container.settled;
  await container.cleaned;
  if (!byPolicy) {
    record.manuallyStopped = false;
    record.restartCount = 0;
    container.record.endWanted = false;
    container.backoff = 0;
  }
  try {
    await context.launches.run(() => launch(context, container));
  } catch (error) {
    await undoStart(context, container, error);
    throw error;
  }
}

async function launch(context: EngineContext, container: Container): Promise<void> {
  const { record, times } = container;
  times.begin("start");
  const directory = runDirectory(context.config, record.id);
  if (existsSync(directory)) await discardDirectory(directory);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  times.mark("start", "run directory");
  const reserved = context.launcher.reserve();
  let compiled: CompiledLaunch;
  try {
    const request = await prepareLaunch(context, container, directory);
    container.lastLaunch = launchToKeep(request);
    compiled = compileContainer(request);
  } catch (error) {
    reserved.giveUp();
    throw error;
  }
  times.mark("start", "program compiled");
  // By itself: what listens to the shim keeps what it names as long as the container runs, and programs are large.
  const { controlSocket } = compiled;
  const shim = context.launcher.launch(compiled.program, controlSocket, reserved);
  container.live = { shim, controlSocket };
  shim.onNote((kind) => {
    if (kind === NOTE.LISTENING) times.mark("start", "program read, control socket");
    if (kind === NOTE.CREATED) times.mark("start", "control groups, clone");
  });
  const attached = shim.listening.then(() => connectPending(context, container, controlSocket));
  attached.catch(() => abandonPending(container));
  try {
    const pid = await shim.started;
    times.mark("start", "mounts, network, execve");
    await noteProcess(record, pid);
  } catch (cause) {
    throw explainStartFailure(compiled, cause, record.path);
  }
  record.state.StartedAt = formatNanoseconds(nowNanoseconds());
  record.state.ExitCode = 0;
  record.state.Error = "";
  record.state.OOMKilled = false;
  container.oomKillsTold = 0;
  container.killed = false;
  // All in one turn of the event loop: the exit may come before the caller goes on.
  container.setStatus("running");
  initHealth(container);
  context.containers.save(container);
  publishContainerEvent(context, container, "start");
  updateHealthMonitor(context, container);
  times.mark("start", "row, events");
  followToExit(context, container, shim);
  // Who waits for the start need not wait for this.
  setImmediate(() => {
    if (container.live?.shim !== shim) return;
    try {
      context.networks.started(record.id, record.state.Pid);
      tellLinking(context, container);
    } catch (error) {
      context.logger.error("what follows a start has failed", { container: record.id, error });
    }
  });
}

/** Which process it is: its number, and what tells it from others that get the same number later. */
export async function noteProcess(record: ContainerRecord, pid: number): Promise<void> {
  record.state.Pid = pid;
  // It runs: that there is no descriptor for this must not end it.
  record.startTicks = (await throughShortage(async () => readStartTicks(pid))) ?? "";
}

async function undoStart(context: EngineContext, container: Container, error: unknown): Promise<void> {
  const { record } = container;
  container.live?.shim.close();
  container.live = undefined;
  abandonPending(container);
  record.state.Error = error instanceof Error ? error.message : String(error);
  record.state.ExitCode = exitCodeOf(error);
  record.state.Pid = 0;
  const ranBefore = record.state.StartedAt !== ZERO_TIME;
  const { Restarting } = record.state;
  container.setStatus(ranBefore ? "exited" : "created");
  await releaseRun(context, container, saveSurely(context, container));
  // By policy there was an end before, and this is the last of it.
  if (Restarting) tellExitWaiters(container);
  if (record.hostConfig.AutoRemove) await removeSurely(context, container);
}

/** 127: no such command, 126: not executable, 128: anything else that kept it from starting. */
function exitCodeOf(error: unknown): number {
  if (error instanceof BerthError && "exitCode" in error && typeof error.exitCode === "number")
    return error.exitCode;
  return 128;
}
