/**
 * Tells when the kernel has killed a process of a container for want of memory, or wants to and may not.
 *
 * Version 2 announces changes of memory.events (inotify). Version 1 tells them to an eventfd alone, which Node cannot
 * wait for without giving up a thread; there the counters are looked at now and then.
 */
import { existsSync, readFileSync, watch } from "node:fs";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { oomKills } from "#runtime/cgroups/events.ts";
import { isGone } from "#runtime/cgroups/processes.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** How often version 1 is asked, and version 2 whether its group is still there. */
const POLL_MS = 200;

export interface OomWatch {
  /** Resolves when the group has gone, or the watch was stopped. */
  readonly ended: Promise<void>;
  stop(): void;
}

/** Calls `onOom` once for each kill, in time, from the moment of the call on. The event loop is kept alive meanwhile. */
export function watchOom(
  layout: CgroupLayout,
  owner: CgroupOwner,
  onOom: () => void,
  { pollMs = POLL_MS }: { pollMs?: number } = {},
): OomWatch {
  const directory = controllerDirectory(layout, owner, "memory");
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const file = `${directory}/${layout.version === 2 ? "memory.events" : "memory.oom_control"}`;
  if (directory === undefined || !existsSync(file)) {
    // Nothing will ever be told; whoever waits shall not take that for the container's end.
    return { ended, stop: resolve };
  }
  let seen = readOom(file);
  const look = () => {
    const now = readOom(file);
    if (now === undefined) {
      stop();
      return;
    }
    const news = newOoms(seen, now);
    seen = now;
    for (let count = 0; count < news; count++) onOom();
  };
  const timer = setInterval(look, pollMs);
  const watcher = layout.version === 2 ? watch(file, look) : undefined;
  // The file goes with its group, which the timer sees as well.
  watcher?.on("error", () => undefined);
  const stop = () => {
    clearInterval(timer);
    watcher?.close();
    resolve();
  };
  return { ended, stop };
}

export interface OomState {
  kills: number;
  /** With the killer disabled: processes stand still for want of memory. */
  stuck: boolean;
}

/** Of what the file says; the same form in both versions. */
export function oomState(text: string): OomState {
  return { kills: oomKills(text), stuck: /^under_oom 1$/m.test(text) && /^oom_kill_disable 1$/m.test(text) };
}

export function newOoms(before: OomState | undefined, now: OomState): number {
  const kills = Math.max(now.kills - (before?.kills ?? 0), 0);
  return kills + (now.stuck && !before?.stuck ? 1 : 0);
}

function readOom(file: string): OomState | undefined {
  try {
    return oomState(readFileSync(file, "utf8"));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
