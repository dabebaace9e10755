/** What a container is doing now, asked of the kernel: nothing else is ever written down. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readProcessStatus } from "#kernel/process-status.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { isFrozenNow } from "#runtime/cgroups/freezer.ts";
import { START_SOCKET } from "#runtime/compile/bundle-frame.ts";
import { SPEC_VERSION } from "#runtime/spec-version.ts";

export type ContainerStatus = "creating" | "created" | "running" | "paused" | "stopped";

/** Pids are used again; a pid with its start time is not. */
export function isAlive({ pid, startTicks }: Pick<StoredContainer, "pid" | "startTicks">): boolean {
  const found = readProcessStatus(pid);
  return found !== undefined && found.startTicks === startTicks && found.state !== "Z" && found.state !== "X";
}

export function statusOf(states: StateDirectory, container: StoredContainer): ContainerStatus {
  if (!isAlive(container)) return "stopped";
  if (existsSync(join(states.path(container.id), START_SOCKET))) return "created";
  return isFrozenNow(readCgroupLayout(), container.cgroupOwner) ? "paused" : "running";
}

/** The specification's state (runtime.md, "State"), as hooks and `state` get it. */
export interface OciState {
  ociVersion: string;
  id: string;
  status: ContainerStatus;
  pid: number;
  bundle: string;
  annotations?: Record<string, string>;
}

/** A container that is no more has no pid. */
export function ociState(container: StoredContainer, status: ContainerStatus): OciState {
  const { annotations } = container.spec;
  return {
    ociVersion: SPEC_VERSION,
    id: container.id,
    status,
    pid: status === "stopped" ? 0 : container.pid,
    bundle: container.bundle,
    ...(annotations && { annotations }),
  };
}
