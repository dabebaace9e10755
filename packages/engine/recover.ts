/**
 * Finding everything again after the daemon was away, however it went: half-made and half-removed containers are
 * removed, running ones are followed again, and those that ended meanwhile get their exit codes.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Container } from "#engine/container.ts";
import { controlSocket, exitFile, runDirectory } from "#engine/container-paths.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { followToExit, releaseRun } from "#engine/exit.ts";
import { purge, removeContainer } from "#engine/remove.ts";
import { startContainer } from "#engine/start.ts";
import { formatNanoseconds, nowNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";

/** The exit code of a container whose end nobody saw (the machine went down); dockerd's value. */
const UNKNOWN_EXIT = 255;

/** Call once, before requests are answered from container state. */
export async function recoverContainers(context: EngineContext): Promise<void> {
  for (const { id, reason } of context.containers.load()) {
    context.logger.error("a container's record cannot be read; it is left alone", { container: id, reason });
  }
  const running = new Map<string, { pid: number }>();
  for (const container of context.containers.all()) {
    if (container.record.phase !== "present") {
      context.containers.retire(container);
      context.background.run("clean-up of a half-made container", () =>
        purge(context, container.record, true),
      );
    } else if (await findAgain(context, container)) {
      running.set(container.id, { pid: container.record.state.Pid });
    }
  }
  await context.networks.reconcile(running);
  await removeStaleDirectories(context);
  context.background.run("restart after the daemon's absence", () => restartByPolicy(context));
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
    if (!ended) record.state.Pid = await shim.started.catch(() => record.state.Pid);
    context.containers.save(container);
    followToExit(context, container, shim);
    if (ended) await container.settled;
    return !ended;
  }
  if (record.state.Running) {
    record.state.Pid = 0;
    record.state.ExitCode = UNKNOWN_EXIT;
    record.state.FinishedAt = formatNanoseconds(nowNanoseconds());
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

async function restartByPolicy(context: EngineContext): Promise<void> {
  for (const container of context.containers.all()) {
    const { record } = container;
    if (record.state.Running) continue;
    const policy = record.hostConfig.RestartPolicy?.Name;
    const ranBefore = record.state.StartedAt !== ZERO_TIME;
    if (record.hostConfig.AutoRemove && ranBefore) {
      await container.queue.run(() => removeContainer(context, container, { force: false, volumes: true }));
    } else if (
      ranBefore &&
      (policy === "always" || (policy === "unless-stopped" && !record.manuallyStopped))
    ) {
      await container.queue
        .run(() => startContainer(context, container))
        .catch((error: unknown) => context.logger.error("restart failed", { container: record.id, error }));
    }
  }
}
