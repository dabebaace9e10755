/**
 * Finding everything again after the daemon was away, however it went: half-made and half-removed containers are
 * removed, running ones are followed again, and those that ended meanwhile get their exit codes.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Container } from "#engine/containers/container.ts";
import { controlSocket, exitFile, runDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import {
  followLogs,
  followToExit,
  releaseRun,
  removeSurely,
  saveSurely,
  scheduleRestart,
} from "#engine/containers/exit.ts";
import { findLost } from "#engine/containers/find-lost.ts";
import { joinedContainers } from "#engine/containers/joined-containers.ts";
import { agreeOnFrozen } from "#engine/containers/pause.ts";
import { purge } from "#engine/containers/remove.ts";
import { wantsStartWithDaemon } from "#engine/containers/restart-policy.ts";
import { noteProcess, startContainer } from "#engine/containers/start.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { recoverExecs } from "#engine/exec/recover-execs.ts";
import { updateHealthMonitor } from "#engine/health/health-monitor.ts";
import { adoptVolumes } from "#engine/mounts/container-volumes.ts";
import { holdImage, unmountUnusedImages } from "#engine/mounts/image-mounts.ts";
import { pointToNameServer } from "#engine/networking/resolver-file.ts";
import { completeHostConfig } from "#engine/requests/validate-host-config.ts";
import { formatNanoseconds, nowNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";
import type { ExitRecord } from "#program/launcher-client.types.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";

/** The exit code of a container whose end nobody saw (the machine went down); dockerd's value. */
const UNKNOWN_EXIT = 255;
/** How many containers are started at once when the daemon comes up. */
const START_LANES = 4;

/** Call once, before requests are answered from container state. */
export async function recoverContainers(context: EngineContext): Promise<void> {
  const { hostConfig } = completeHostConfig({}, context.limits);
  for (const { id, ...what } of context.containers.load(hostConfig)) {
    context.logger.error("a container's record cannot be read and was replaced", { container: id, ...what });
  }
  await findLost(context, hostConfig);
  // A restart that is due meanwhile waits: what it took would be taken for a leftover.
  const { promise: found, resolve } = Promise.withResolvers<void>();
  for (const container of context.containers.all()) void container.queue.run(() => found);
  try {
    await findAll(context);
  } finally {
    resolve();
  }
}

async function findAll(context: EngineContext): Promise<void> {
  const running = new Map<string, { pid: number }>();
  const cutShort = new Set<Container>();
  // Before any of them is released: another may still have the same volume.
  for (const { record } of context.containers.all()) {
    const ran = record.state.Running || existsSync(runDirectory(context.config, record.id));
    if (ran && record.phase === "present") adoptVolumes(context, record);
  }
  for (const container of context.containers.all()) {
    if (container.record.phase !== "present") {
      const { phase, takesVolumes } = container.record;
      // What was half made is wanted by nobody.
      const volumes = phase === "creating" || takesVolumes === true;
      context.containers.retire(container, volumes);
      void context.background.run("clean-up of a half-made container", async () => {
        // Its last run's may have been cut short as well.
        await removeContainerCgroups(context.cgroups, container.record);
        await purge(context, container.record, volumes);
      });
    } else {
      const found = await findAgain(context, container);
      if (found === "runs") {
        running.set(container.id, { pid: container.record.state.Pid });
        continue;
      }
      if (found === "cut short") cutShort.add(container);
      // What it wrote at its end may not have been passed on.
      if (container.record.state.StartedAt !== ZERO_TIME) followLogs(context, container, Promise.resolve());
    }
  }
  await context.networks.reconcile(running);
  for (const id of running.keys()) nameServerAgain(context, context.containers.get(id));
  await context.volumes.unmountUnused();
  await unmountUnusedImages(context, new Set(running.keys()));
  await removeStaleDirectories(context);
  await recoverExecs(context);
  void context.background.run("restart after the daemon's absence", () => restartByPolicy(context, cutShort));
}

/**
 * Answers what became of it: "cut short" is one whose run ended with the machine, unseen. An end that is recorded now has
 * its restart decided with it, and one that waited for its restart goes on waiting: it is counted already.
 */
async function findAgain(
  context: EngineContext,
  container: Container,
): Promise<"runs" | "cut short" | "ended"> {
  const { record } = container;
  const directory = runDirectory(context.config, record.id);
  if (existsSync(directory)) {
    const shim = await context.launcher.reconnect(controlSocket(directory), exitFile(directory));
    const ended = await settledNow(shim.exited);
    if (ended && (await isKnownEnd(record, directory, shim.exited))) {
      // Only the clean-up was cut short, or the next start.
      shim.close();
      await releaseRun(context, container);
      if (record.state.Restarting) scheduleRestart(context, container);
      return "ended";
    }
    container.live = { shim, controlSocket: controlSocket(directory) };
    await holdAgain(context, container);
    if (!record.state.Running || record.state.Restarting) {
      // The daemon went between the start and its record.
      record.state.StartedAt = formatNanoseconds(nowNanoseconds());
      record.state.FinishedAt = ZERO_TIME;
    }
    if (!record.state.Paused) container.setStatus("running");
    if (!ended) await agreeAgain(context, container);
    if (!ended) await noteProcess(record, await shim.started.catch(() => record.state.Pid));
    void saveSurely(context, container);
    followToExit(context, container, shim);
    if (!ended) updateHealthMonitor(context, container);
    if (ended) await container.settled;
    return ended ? "ended" : "runs";
  }
  if (!record.state.Running) return "ended";
  if (record.state.Restarting) {
    await releaseRun(context, container);
    scheduleRestart(context, container);
    return "ended";
  }
  record.state.ExitCode = UNKNOWN_EXIT;
  record.state.FinishedAt = formatNanoseconds(nowNanoseconds());
  record.state.Pid = 0;
  // Not stored before its policy has had its say: killed in between, the next daemon has to find it as it was.
  container.setStatus("exited");
  await releaseRun(context, container);
  return "cut short";
}

/** One that cannot be thawed or looked at costs nobody else their recovery. */
async function agreeAgain(context: EngineContext, container: Container): Promise<void> {
  try {
    await agreeOnFrozen(context, container);
  } catch (error) {
    context.logger.error("a container cannot be thawed", { container: container.id, error });
  }
}

/** A connect that its daemon did not live to finish has told the name server, and perhaps not the container. */
function nameServerAgain(context: EngineContext, { record }: Container): void {
  try {
    pointToNameServer(context, record);
  } catch (error) {
    context.logger.error("the resolv.conf of a running container cannot be changed", {
      container: record.id,
      error,
    });
  }
}

/** What a run holds of layers: within reach it is, and stays so until the run's end. */
async function holdAgain(context: EngineContext, { record }: Container): Promise<void> {
  try {
    await context.held.hold(record.id, "root", record.id);
    for (const { layer } of record.mounts) {
      if (layer !== undefined) await holdImage(context, record, layer);
    }
  } catch (error) {
    context.logger.error("the layers of a running container are not held", { container: record.id, error });
  }
}

/**
 * Was this end recorded before the daemon went? What a start that came to nothing has left is taken for one too. A run
 * of which nobody knows yet (the daemon went between the start and its record) has ended without being recorded.
 */
async function isKnownEnd(
  { state }: ContainerRecord,
  directory: string,
  exited: Promise<ExitRecord>,
): Promise<boolean> {
  if (state.Running && !state.Restarting) return false;
  if (!existsSync(exitFile(directory)) || state.Error !== "") return true;
  return formatNanoseconds((await exited).at) === state.FinishedAt;
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

/** `cutShort`: those whose run ended with the machine. */
async function restartByPolicy(context: EngineContext, cutShort: ReadonlySet<Container>): Promise<void> {
  const stopped = context.containers
    .all()
    .filter(({ record }) => !record.state.Running && record.state.StartedAt !== ZERO_TIME);
  const wanted = new Set(
    stopped.filter((container) => wantsStartWithDaemon(container.record, cutShort.has(container))),
  );
  for (const container of cutShort) if (!wanted.has(container)) void saveSurely(context, container);
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
    await container.queue.run(() => removeSurely(context, container));
  }
}

async function startAgain(context: EngineContext, container: Container, cutShort: boolean): Promise<void> {
  const { record } = container;
  await container.queue
    .run(async () => {
      if (record.phase !== "present" || record.state.Running) return;
      // How often it was started again goes on being counted.
      if (cutShort) record.restartCount++;
      record.endWanted = false;
      await startContainer(context, container, { byPolicy: cutShort });
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
