/**
 * Finding everything again after the daemon was away, however it went: half-made and half-removed containers are
 * removed, running ones are followed again, and those that ended meanwhile get their exit codes.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Container } from "#engine/containers/container.ts";
import { controlSocket, exitFile, runDirectory } from "#engine/containers/container-paths.ts";
import { followLogs, followToExit, releaseRun } from "#engine/containers/exit.ts";
import { joinedContainers } from "#engine/containers/joined-containers.ts";
import { purge, removeContainer } from "#engine/containers/remove.ts";
import { wantsStartWithDaemon } from "#engine/containers/restart-policy.ts";
import { noteProcess, startContainer } from "#engine/containers/start.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { recoverExecs } from "#engine/exec/recover-execs.ts";
import { updateHealthMonitor } from "#engine/health/health-monitor.ts";
import { adoptVolumes } from "#engine/mounts/container-volumes.ts";
import { unmountUnusedImages } from "#engine/mounts/image-mounts.ts";
import { formatNanoseconds, nowNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";

/** The exit code of a container whose end nobody saw (the machine went down); dockerd's value. */
const UNKNOWN_EXIT = 255;
/** How many containers are started at once when the daemon comes up. */
const START_LANES = 4;

/** Call once, before requests are answered from container state. */
export async function recoverContainers(context: EngineContext): Promise<void> {
  for (const { id, reason } of context.containers.load()) {
    context.logger.error("a container's record cannot be read; it is left alone", { container: id, reason });
  }
  const running = new Map<string, { pid: number }>();
  const lost: Container[] = [];
  // Before any of them is released: another may still have the same volume.
  for (const { record } of context.containers.all()) {
    const ran = record.state.Running || existsSync(runDirectory(context.config, record.id));
    if (ran && record.phase === "present") adoptVolumes(context, record);
  }
  for (const container of context.containers.all()) {
    if (container.record.phase !== "present") {
      context.containers.retire(container);
      void context.background.run("clean-up of a half-made container", () =>
        purge(context, container.record, true),
      );
    } else {
      const was = container.record.state.Running;
      const runs = await findAgain(context, container);
      if (runs) running.set(container.id, { pid: container.record.state.Pid });
      // What it wrote at its end may not have been passed on.
      else if (container.record.state.StartedAt !== ZERO_TIME)
        followLogs(context, container, Promise.resolve());
      else if (was && !container.isRunning) lost.push(container);
    }
  }
  await context.networks.reconcile(running);
  await context.volumes.unmountUnused();
  await unmountUnusedImages(context, new Set(running.keys()));
  await removeStaleDirectories(context);
  await recoverExecs(context);
  const cutShort = new Set(lost);
  void context.background.run("restart after the daemon's absence", () => restartByPolicy(context, cutShort));
}

/** Answers whether it runs. */
async function findAgain(context: EngineContext, container: Container): Promise<boolean> {
  const { record } = container;
  const directory = runDirectory(context.config, record.id);
  if (existsSync(directory)) {
    const shim = await context.launcher.reconnect(controlSocket(directory), exitFile(directory));
    const ended = await settledNow(shim.exited);
    if (!record.state.Running && ended) {
      // Its end was recorded already; only the clean-up was cut short.
      shim.close();
      await releaseRun(context, container);
      return false;
    }
    container.live = { shim, controlSocket: controlSocket(directory) };
    if (!record.state.Running) {
      // The daemon went between the start and its record.
      record.state.StartedAt = formatNanoseconds(nowNanoseconds());
      record.state.FinishedAt = ZERO_TIME;
    }
    if (!record.state.Paused) container.setStatus("running");
    if (!ended) noteProcess(record, await shim.started.catch(() => record.state.Pid));
    context.containers.save(container);
    followToExit(context, container, shim);
    if (!ended) updateHealthMonitor(context, container);
    if (ended) await container.settled;
    return !ended;
  }
  if (record.state.Running) {
    // One that waited for its restart has its end recorded.
    if (!record.state.Restarting) {
      record.state.ExitCode = UNKNOWN_EXIT;
      record.state.FinishedAt = formatNanoseconds(nowNanoseconds());
    }
    record.state.Pid = 0;
    container.setStatus("exited");
    context.containers.save(container);
    await releaseRun(context, container);
  }
  return false;
}

/** Has this promise settled already? One turn of the event loop is all it gets. */
async function settledNow(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  const later = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return (await Promise.race([promise, later])) !== pending;
}

/** Directories of execs and runs that belong to no container. */
async function removeStaleDirectories(context: EngineContext): Promise<void> {
  const known = new Set(context.containers.all().map(({ id }) => runDirectory(context.config, id)));
  const containers = join(context.config.execRoot, "containers");
  for (const name of await readdir(containers).catch(() => [])) {
    const directory = join(containers, name);
    if (!known.has(directory)) await rm(directory, { recursive: true, force: true });
  }
}

/** `cutShort`: those whose run, or whose wait for the next one, ended with the daemon or the machine. */
async function restartByPolicy(context: EngineContext, cutShort: ReadonlySet<Container>): Promise<void> {
  const stopped = context.containers
    .all()
    .filter(({ record }) => !record.state.Running && record.state.StartedAt !== ZERO_TIME);
  const wanted = new Set(
    stopped.filter((container) => wantsStartWithDaemon(container.record, cutShort.has(container))),
  );
  // One that shares another's namespaces comes after that other.
  for (const level of startLevels([...wanted], (container) => joinedContainers(context, container))) {
    const waiting = [...level];
    const lane = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        await startAgain(context, next, cutShort.has(next));
      }
    };
    await Promise.all(Array.from({ length: START_LANES }, lane));
  }
  for (const container of stopped) {
    if (wanted.has(container) || !container.record.hostConfig.AutoRemove) continue;
    await container.queue.run(() => removeContainer(context, container, { force: false, volumes: true }));
  }
}

async function startAgain(context: EngineContext, container: Container, cutShort: boolean): Promise<void> {
  const { record } = container;
  await container.queue
    .run(async () => {
      if (record.phase !== "present" || record.state.Running) return;
      const { restartCount } = record;
      await startContainer(context, container);
      if (cutShort) record.restartCount = restartCount + 1;
    })
    .catch((error: unknown) => context.logger.error("restart failed", { container: record.id, error }));
}

/** Groups of containers, each after those that its members need. What is needed in a circle is taken as it comes. */
export function startLevels<T>(all: readonly T[], needs: (item: T) => T[]): T[][] {
  const depths = new Map<T, number>();
  const depthOf = (item: T, path: readonly T[]): number => {
    const known = depths.get(item);
    if (known !== undefined || path.includes(item)) return known ?? 0;
    const below = needs(item).filter((other) => all.includes(other));
    const depth = Math.max(0, ...below.map((other) => depthOf(other, [...path, item]) + 1));
    depths.set(item, depth);
    return depth;
  };
  const levels: T[][] = [];
  for (const item of all) {
    const depth = depthOf(item, []);
    while (levels.length <= depth) levels.push([]);
    levels[depth]?.push(item);
  }
  return levels;
}
