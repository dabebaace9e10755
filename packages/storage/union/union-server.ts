/**
 * The main thread of berth-union: makes and removes mounts, and has them served by its other thread.
 *
 * Paths are looked at here alone: should one lead into a mount of ours, the other thread still answers.
 */
import { statfsSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { BerthError } from "#errors/errors.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { S_IFDIR } from "#kernel/file-syscalls.ts";
import { FuseDevice } from "#kernel/fuse/fuse-device.ts";
import { MNT_DETACH, MS_RDONLY, UMOUNT_NOFOLLOW, umount2 } from "#kernel/mount-syscalls.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { startThread } from "#kernel/threads.ts";
import { wake, wakeDescriptor } from "#kernel/wake.ts";
import { MOST_BYTES } from "#storage/union/negotiate.ts";
import { runErrand } from "#storage/union/run-errand.ts";
import type { ThreadNews, ThreadOrder, ThreadSetup } from "#storage/union/union-thread-types.ts";
import type { UnionBranch, UnionListed, UnionMount } from "#storage/union/union-types.ts";

/** What `mount` shows as the kind: fuse.berth-aufs. */
const SUBTYPE = "berth-aufs";
/** How long an unmount is waited for, ms: one that is still used ends when its users do. */
const END_PATIENCE = 1000;

interface Served extends UnionMount {
  id: number;
  /** Rejects where it cannot be served. */
  answers: PromiseWithResolvers<void>;
  ended: PromiseWithResolvers<void>;
}

export class UnionServer {
  readonly #wake: FileDescriptor = wakeDescriptor();
  readonly #thread: Worker;
  readonly #served = new Map<number, Served>();
  readonly #asked = new Map<number, (nodes: [number, number][]) => void>();
  readonly #fault: (message: string) => void;
  #next = 1;

  constructor(fault: (message: string) => void) {
    const workerData: ThreadSetup = { wake: this.#wake.number };
    this.#fault = fault;
    goLast();
    this.#thread = startThread(new URL("./union-worker.ts", import.meta.url), { name: "unions", workerData });
    this.#thread.on("message", (news: ThreadNews) => this.#heard(news));
    // Without it nothing is served: the mounts end cleanly with the process.
    this.#thread.on("error", (error) => {
      fault(String(error));
      process.exit(1);
    });
  }

  get size(): number {
    return this.#served.size;
  }

  async mount({ mountPoint, branches }: UnionMount): Promise<void> {
    const there = this.#at(mountPoint);
    check(mountPoint, branches);
    if (there !== undefined) {
      if (!sameBranches(there.branches, branches)) {
        throw refused("conflict", `${mountPoint} is a union of other branches`, mountPoint);
      }
      await there.answers.promise;
      if (isMounted(mountPoint)) return;
    }
    clear(mountPoint);
    const device = openDevice();
    const id = this.#next++;
    const served: Served = {
      id,
      mountPoint,
      branches,
      answers: Promise.withResolvers<void>(),
      ended: Promise.withResolvers<void>(),
    };
    served.answers.promise.catch(() => {
      // Whoever mounts hears of it.
    });
    try {
      const flags = branches[0]?.writable === true ? 0 : MS_RDONLY;
      device.mount(mountPoint, {
        source: "berth-aufs",
        subtype: SUBTYPE,
        rootMode: S_IFDIR,
        maxRead: MOST_BYTES,
        flags,
      });
    } catch (error) {
      device[Symbol.dispose]();
      throw error;
    }
    this.#served.set(id, served);
    this.#order({ kind: "serve", id, device: device.release(), branches });
    try {
      await served.answers.promise;
    } catch (error) {
      this.#served.delete(id);
      takeAway(mountPoint);
      throw error;
    }
  }

  async unmount(mountPoint: string): Promise<void> {
    const served = this.#at(mountPoint);
    if (served === undefined && !isOurs(mountPoint)) return;
    takeAway(mountPoint);
    if (served !== undefined) {
      // No longer found: the place is free, even if somebody still has files of it open.
      served.mountPoint = "";
      await Promise.race([served.ended.promise, sleep(END_PATIENCE, undefined, { ref: false })]);
    }
  }

  async list(): Promise<UnionListed[]> {
    const ask = this.#next++;
    const counted = new Promise<[number, number][]>((resolve) => this.#asked.set(ask, resolve));
    this.#order({ kind: "count", ask });
    const nodes = new Map(await counted);
    return [...this.#served.values()]
      .filter(({ mountPoint }) => mountPoint !== "")
      .map(({ id, mountPoint, branches }) => ({ mountPoint, branches, nodes: nodes.get(id) ?? 0 }));
  }

  /** Ends the thread that serves, and with it what is still mounted. Before the process's end, which would wait for it. */
  async leave(): Promise<void> {
    const ended = new Promise((resolve) => this.#thread.once("exit", resolve));
    this.#order({ kind: "leave" });
    await ended;
  }

  #at(mountPoint: string): Served | undefined {
    for (const served of this.#served.values()) if (served.mountPoint === mountPoint) return served;
    return undefined;
  }

  #order(order: ThreadOrder): void {
    this.#thread.postMessage(order);
    wake(this.#wake.number);
  }

  #heard(news: ThreadNews): void {
    switch (news.kind) {
      case "answers":
        this.#served.get(news.id)?.answers.resolve();
        break;
      case "failed": {
        const served = this.#served.get(news.id);
        const code = news.code === "ENOENT" || news.code === "ENOTDIR" ? "not-found" : "internal";
        served?.answers.reject(refused(code, news.message, served.mountPoint));
        served?.ended.resolve();
        break;
      }
      case "ended": {
        const served = this.#served.get(news.id);
        this.#served.delete(news.id);
        served?.answers.reject(refused("internal", "the mount went before it was served", served.mountPoint));
        served?.ended.resolve();
        break;
      }
      case "counted":
        this.#asked.get(news.ask)?.(news.nodes);
        this.#asked.delete(news.ask);
        break;
      case "errand":
        runErrand(news.errand, (errno) => this.#order({ kind: "done", ticket: news.ticket, errno }));
        break;
      case "fault":
        this.#fault(news.message);
        break;
    }
  }
}

/** The roots of containers go with this process: where memory runs out, others end before it. */
function goLast(): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", "-900");
  } catch {
    // In a container that may not: as likely as any other.
  }
}

function refused(code: "invalid" | "not-found" | "conflict" | "internal", message: string, object: string) {
  return new BerthError(code, message, { operation: "mount union", object });
}

/** Throws where the branches or the place do not fit, or are not there. */
function check(mountPoint: string, branches: readonly UnionBranch[]): void {
  if (!Array.isArray(branches) || branches.length === 0) {
    throw refused("invalid", "a union needs a branch", mountPoint);
  }
  for (const [index, { path, writable }] of branches.entries()) {
    if (typeof path !== "string" || !path.startsWith("/")) {
      throw refused("invalid", `not an absolute path: ${path}`, mountPoint);
    }
    if (writable && index > 0) {
      throw refused("invalid", `only the first branch may be writable, not ${path}`, mountPoint);
    }
    if (path === mountPoint || path.startsWith(`${mountPoint}/`)) {
      throw refused("invalid", `the branch ${path} lies in the mount point`, mountPoint);
    }
    requireDirectory(path, "branch", mountPoint);
  }
  try {
    requireDirectory(mountPoint, "mount point", mountPoint);
  } catch (error) {
    if (!isErrno(error, "ENOTCONN", "ECONNABORTED")) throw error;
  }
}

function requireDirectory(path: string, what: string, object: string): void {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) throw refused("not-found", `the ${what} ${path} is not there`, object);
  if (!status.isDirectory()) throw refused("invalid", `the ${what} ${path} is no directory`, object);
}

/** Makes way for a mount: dead ones of ours go. */
function clear(mountPoint: string): void {
  for (let mount = mountAt(mountPoint); mount !== undefined; mount = mountAt(mountPoint)) {
    if (mount.fsType !== `fuse.${SUBTYPE}` || isMounted(mountPoint)) {
      throw refused("conflict", `${mountPoint} is a mount point already (${mount.fsType})`, mountPoint);
    }
    takeAway(mountPoint);
  }
}

function mountAt(path: string) {
  return readMountInfo()
    .filter(({ mountPoint }) => mountPoint === path)
    .at(-1);
}

/** Does a mount of ours answer there? */
function isMounted(mountPoint: string): boolean {
  if (!isOurs(mountPoint)) return false;
  try {
    statfsSync(mountPoint);
    return true;
  } catch {
    return false;
  }
}

function isOurs(mountPoint: string): boolean {
  return mountAt(mountPoint)?.fsType === `fuse.${SUBTYPE}`;
}

function takeAway(mountPoint: string): void {
  try {
    umount2(mountPoint, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (error) {
    // Somebody was faster.
    if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
  }
}

function openDevice(): FuseDevice {
  try {
    return FuseDevice.open();
  } catch (error) {
    throw new BerthError("internal", "the kernel has no FUSE (/dev/fuse)", {
      operation: "mount union",
      object: "/dev/fuse",
      hint: "load the module fuse, or use the storage driver overlay2",
      cause: error,
    });
  }
}

function sameBranches(one: readonly UnionBranch[], other: readonly UnionBranch[]): boolean {
  return (
    one.length === other.length &&
    one.every(
      ({ path, writable }, index) => other[index]?.path === path && other[index]?.writable === writable,
    )
  );
}
