/**
 * What the verbs of the engine work with. Made once in apps/berthd; handed to every verb as its first argument, so
 * that each verb is a function in a file of its own and none of them owns the others.
 */
import type { DaemonConfig } from "#config/config-types.ts";
import type { ContainerStore } from "#engine/containers/container-store.ts";
import type { EventBus } from "#engine/events/event-bus.ts";
import type { Exec } from "#engine/exec/exec.ts";
import type { LaunchQueue } from "#engine/launch/launch-queue.ts";
import type { HostLimits } from "#engine/requests/validate-host-config.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { ImageService } from "#images/image-types.ts";
import type { LogService } from "#logs/log-service.ts";
import type { NetworkController } from "#networks/network-types.ts";
import type { LauncherClient } from "#program/launcher-client.types.ts";
import type { CgroupLayout, HostFacts } from "#runtime/launch-types.ts";
import type { Database } from "#state/database.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import type { ContainerFiles } from "#storage/files/container-files.ts";
import type { HeldLayers } from "#storage/hold-layers.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";
import type { VolumeService } from "#volumes/volume-types.ts";

export interface EngineContext {
  readonly config: DaemonConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly storage: StorageDriver;
  /** What containers' runs hold of their layers and of images, by the containers' ids. */
  readonly held: HeldLayers;
  readonly files: ContainerFiles;
  readonly images: ImageService;
  readonly networks: NetworkController;
  readonly volumes: VolumeService;
  readonly logs: LogService;
  readonly launcher: LauncherClient;
  /** Starts of containers and execs go through it. */
  readonly launches: LaunchQueue;
  /** Path of the launcher binary, bound into containers that want an init. */
  readonly launcherPath: string;
  readonly events: EventBus;
  readonly containers: ContainerStore;
  /** Every exec that can still be inspected, by id (exec.ts). */
  readonly execs: Map<string, Exec>;
  /** Users of containers as users of the host (`--userns-remap`); undefined where they are the same. */
  readonly idMap: IdMap | undefined;
  /** The system call filter of containers that ask for none (seccomp-choice.ts). */
  readonly defaultSeccomp: string;
  readonly cgroups: CgroupLayout;
  readonly host: HostFacts;
  readonly limits: HostLimits;
  /** Work that goes on after its request was answered; awaited at shutdown. */
  readonly background: BackgroundWork;
}

/** Runs what nobody waits for, and logs its failures. */
export class BackgroundWork {
  readonly #running = new Set<Promise<void>>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Answers the end of it, which never rejects. */
  run(what: string, work: () => Promise<void>): Promise<void> {
    const promise: Promise<void> = work()
      .catch((error: unknown) => this.#logger.error(`${what} failed`, { error }))
      .finally(() => this.#running.delete(promise));
    this.#running.add(promise);
    return promise;
  }

  /** Resolves when all that was started so far has ended. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
