/** The verbs on containers, by name or id: finds the container, enters its queue, calls the verb. */
import type { Duplex, Readable } from "node:stream";
import type {
  ContainerCreateRequest,
  ContainerCreateResponse,
  ContainerInspect,
  HostConfig,
} from "#api-types/container.ts";
import {
  type CheckpointRequest,
  listCheckpoints,
  refuseCheckpoint,
  refuseRestore,
  removeCheckpoint,
} from "#engine/containers/checkpoints.ts";
import { listContainers } from "#engine/containers/container-list.ts";
import { containerSizes } from "#engine/containers/container-sizes.ts";
import { inspectContainer } from "#engine/containers/container-view.ts";
import { createContainer } from "#engine/containers/create.ts";
import { freezeContainer } from "#engine/containers/pause.ts";
import { pruneContainers } from "#engine/containers/prune-containers.ts";
import { imagesInUse, removeContainer } from "#engine/containers/remove.ts";
import { renameContainer } from "#engine/containers/rename.ts";
import type { StageTime } from "#engine/containers/stage-times.ts";
import { startContainer } from "#engine/containers/start.ts";
import { killContainer, stopContainer } from "#engine/containers/stop.ts";
import { listProcesses } from "#engine/containers/top.ts";
import { updateContainer } from "#engine/containers/update.ts";
import { waitForContainer } from "#engine/containers/wait.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type {
  AttachOptions,
  ContainerService,
  Filters,
  LogOptions,
  WaitCondition,
} from "#engine/engine-types.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { describeProgram } from "#engine/launch/describe-program.ts";
import { readableLog } from "#engine/launch/log-plan.ts";
import { containerStats } from "#engine/stats/container-stats.ts";
import { attachToContainer } from "#engine/streams/attach.ts";
import { BerthError } from "#errors/errors.ts";
import { readLog } from "#logs/read-log.ts";

export class Containers implements ContainerService {
  readonly #context: EngineContext;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  create(name: string, request: ContainerCreateRequest, platform: string): Promise<ContainerCreateResponse> {
    return createContainer(this.#context, name, request, platform);
  }

  async start(nameOrId: string, { checkpoint }: { checkpoint?: string } = {}): Promise<void> {
    const { containers } = this.#context;
    if (checkpoint) throw refuseRestore(containers.get(nameOrId));
    return containers.inTurn(nameOrId, (container) => startContainer(this.#context, container));
  }

  listCheckpoints(nameOrId: string, directory: string): Promise<{ Name: string }[]> {
    return listCheckpoints(this.#context, this.#context.containers.get(nameOrId), directory);
  }

  async createCheckpoint(nameOrId: string, request: CheckpointRequest): Promise<void> {
    throw refuseCheckpoint(this.#context.containers.get(nameOrId), request);
  }

  removeCheckpoint(nameOrId: string, which: { name: string; directory: string }): Promise<void> {
    return removeCheckpoint(this.#context, this.#context.containers.get(nameOrId), which);
  }

  stop(nameOrId: string, options: { signal?: string; timeout?: number }): Promise<void> {
    return this.#context.containers.inTurn(nameOrId, (container) =>
      stopContainer(this.#context, container, options),
    );
  }

  restart(nameOrId: string, options: { signal?: string; timeout?: number }): Promise<void> {
    return this.#context.containers.inTurn(nameOrId, async (container) => {
      // Between stop and start an automatic removal must not get in.
      container.restartingByHand = true;
      try {
        if (container.isRunning) await stopContainer(this.#context, container, options);
      } finally {
        container.restartingByHand = false;
      }
      await startContainer(this.#context, container);
      publishContainerEvent(this.#context, container, "restart");
    });
  }

  /** Not queued: a kill must get through while a stop waits. */
  kill(nameOrId: string, signal: string): Promise<void> {
    return killContainer(this.#context, nameOrId, signal);
  }

  pause(nameOrId: string): Promise<void> {
    return this.#context.containers.inTurn(nameOrId, (container) =>
      freezeContainer(this.#context, container, true),
    );
  }

  unpause(nameOrId: string): Promise<void> {
    return this.#context.containers.inTurn(nameOrId, (container) =>
      freezeContainer(this.#context, container, false),
    );
  }

  rename(nameOrId: string, name: string): Promise<void> {
    return this.#context.containers.inTurn(nameOrId, async (container) =>
      renameContainer(this.#context, container, name),
    );
  }

  update(nameOrId: string, change: HostConfig): Promise<string[]> {
    return this.#context.containers.inTurn(nameOrId, (container) =>
      updateContainer(this.#context, container, change),
    );
  }

  async remove(
    nameOrId: string,
    options: { force: boolean; volumes: boolean; link: boolean },
  ): Promise<void> {
    const container = this.#context.containers.get(nameOrId);
    if (options.link) {
      const text = nameOrId.replace(/^\//, "").includes("/")
        ? `Could not get parent for ${nameOrId}`
        : "Conflict, cannot remove the default link name of the container";
      throw new BerthError("conflict", text, { operation: "remove link", object: nameOrId });
    }
    // A forced removal does not wait behind a stop that is still in its grace.
    if (options.force && container.isRunning) await this.kill(nameOrId, "SIGKILL").catch(ignoreConflict);
    await container.queue.run(() => removeContainer(this.#context, container, options));
  }

  async resize(nameOrId: string, rows: number, columns: number): Promise<void> {
    const container = this.#context.containers.get(nameOrId);
    if (container.live === undefined) {
      throw new BerthError("conflict", `Container ${container.id} is not running`, {
        operation: "resize container",
        object: nameOrId,
      });
    }
    container.live.shim.resize(rows, columns);
    publishContainerEvent(this.#context, container, "resize", {
      height: String(rows),
      width: String(columns),
    });
  }

  async wait(nameOrId: string, condition: WaitCondition, signal: AbortSignal) {
    return { result: waitForContainer(this.#context.containers.get(nameOrId), condition, signal) };
  }

  async inspect(nameOrId: string, options: { size: boolean }): Promise<ContainerInspect> {
    const container = this.#context.containers.get(nameOrId);
    const inspect = await inspectContainer(this.#context, container);
    return options.size ? { ...inspect, ...(await containerSizes(this.#context, container)) } : inspect;
  }

  list(options: { all: boolean; limit: number; size: boolean; filters: Filters }): Promise<string> {
    return listContainers(this.#context, options);
  }

  stats(
    nameOrId: string,
    options: { stream: boolean; once: boolean },
    signal: AbortSignal,
  ): AsyncIterable<string> {
    return containerStats(this.#context, this.#context.containers.get(nameOrId), options, signal);
  }

  top(nameOrId: string, psArgs: string): Promise<{ Titles: string[]; Processes: string[][] }> {
    return listProcesses(this.#context, this.#context.containers.get(nameOrId), psArgs);
  }

  async logs(
    nameOrId: string,
    options: LogOptions,
    signal: AbortSignal,
  ): Promise<{ tty: boolean; stream: Readable }> {
    const container = this.#context.containers.get(nameOrId);
    const tty = container.record.config.Tty ?? false;
    const log = readableLog(container.record, this.#context.config);
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const source = { ...log, ended };
    const stream = readLog(source, { ...options, framed: !tty }, signal);
    if (container.isRunning) {
      const waiter = () => resolve();
      container.exitWaiters.add(waiter);
      // A container may run for years and have its log looked at every second.
      stream.on("close", () => container.exitWaiters.delete(waiter));
    } else resolve();
    return { tty, stream };
  }

  async attach(
    nameOrId: string,
    options: AttachOptions,
  ): Promise<{ tty: boolean; connect: (client: Duplex) => Promise<void> }> {
    return attachToContainer(this.#context, this.#context.containers.get(nameOrId), options);
  }

  async prune(filters: Filters): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
    return pruneContainers(this.#context, filters);
  }

  imageUsers(imageId: string): { id: string; running: boolean }[] {
    return imagesInUse(this.#context)(imageId);
  }

  stageTimes(nameOrId: string): StageTime[] {
    return this.#context.containers.get(nameOrId).times.list();
  }

  async describeProgram(nameOrId: string): Promise<string> {
    return describeProgram(this.#context.containers.get(nameOrId));
  }
}

/** It ended by itself in between: just as well. */
function ignoreConflict(error: unknown): void {
  if (!(error instanceof BerthError && error.code === "conflict")) throw error;
}
