/**
 * One container in memory: its record, its queue, the shim while it runs, and who waits for it.
 * Holds no policy; the verbs are in files of their own (start.ts, stop.ts, remove.ts …).
 */
import type { Socket } from "node:net";
import type { ContainerStatus } from "#api-types/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { StageTimes } from "#engine/containers/stage-times.ts";
import type { HealthMonitor } from "#engine/health/health-monitor.ts";
import { SerialQueue } from "#engine/serial-queue.ts";
import type { AttachStreams, ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import type { ContainerLaunch } from "#runtime/launch-types.ts";

/** A client that attached before the start; it is connected to the shim as soon as that listens. */
export interface PendingAttach {
  streams: AttachStreams;
  connected: (shim: Socket) => void;
  /** There will be no output: the start has failed, which is told to whoever asked for it. */
  abandoned: () => void;
  failed: (error: unknown) => void;
}

/** A running (or starting) container's live side. */
export interface LiveContainer {
  shim: ShimHandle;
  controlSocket: string;
}

export type ExitWaiter = (exitCode: number) => void;

export class Container {
  readonly record: ContainerRecord;
  readonly queue = new SerialQueue();
  readonly times = new StageTimes();
  live: LiveContainer | undefined;
  /** What the last start was compiled from, for `berth debug program`. */
  lastLaunch: ContainerLaunch | undefined;
  readonly pendingAttaches = new Set<PendingAttach>();
  /** Connections to its shim that attached clients have, or will have once it is there. */
  attached = 0;
  /** Attached clients of this run; each resolves when its client has been sent everything, or is gone. */
  readonly conversations = new Set<Promise<void>>();
  readonly execIds = new Set<string>();
  /** Resolved at the next exit / at removal. */
  readonly exitWaiters = new Set<ExitWaiter>();
  readonly removalWaiters = new Set<ExitWaiter>();
  /** Settles when the exit that is being waited for has been fully recorded (state, events). */
  settled: Promise<void> = Promise.resolve();
  /** Settles when what the last run left behind (cgroups, exec directory) is gone. */
  cleaned: Promise<void> = Promise.resolve();
  /** `docker restart` is under way: the end in its middle is no reason to remove it. */
  restartingByHand = false;
  /** This run has been sent SIGKILL: nothing may keep it from taking it. */
  killed = false;
  /** How many of this run's out-of-memory kills have been told. */
  oomKillsTold = 0;
  /** The last pause before a restart by policy, ms; 0 when there was none. */
  backoff = 0;
  restartTimer: NodeJS.Timeout | undefined;
  health: HealthMonitor | undefined;
  /** What lists show of it before and after its status while it doesn't run; the store forgets it at every save. */
  restingSummary: [before: string, after: string] | undefined;
  lastExit: ExitRecord | undefined;

  constructor(record: ContainerRecord) {
    this.record = record;
  }

  get id(): string {
    return this.record.id;
  }

  get shortId(): string {
    return this.record.id.slice(0, 12);
  }

  get isRunning(): boolean {
    return this.record.state.Running;
  }

  setStatus(status: ContainerStatus): void {
    const { state } = this.record;
    state.Status = status;
    state.Running = status === "running" || status === "paused" || status === "restarting";
    state.Paused = status === "paused";
    state.Restarting = status === "restarting";
    state.Dead = status === "dead";
  }
}
