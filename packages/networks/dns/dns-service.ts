/**
 * The name server as the controller uses it: what containers are called goes to its thread, and all that comes back is
 * who is served.
 *
 * Owns the thread, which is there while any container is served. What was told is kept here too: a thread that dies is
 * replaced by one that knows the same.
 */
import type { Worker } from "node:worker_threads";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { startThread } from "#kernel/threads.ts";
import { wake, wakeDescriptor } from "#kernel/wake.ts";
import type { ContainerNames } from "#networks/dns/container-names.ts";
import type { DnsMessage, DnsReport, DnsThreadData, SocketNumbers } from "#networks/dns/dns-messages.ts";

/** ms without a container before the thread ends. */
const IDLE = 10_000;
/** ms that somebody waits at most for a container to be served. */
const READY = 2000;
/** ms before a thread that has died is replaced. */
const PAUSE = 200;
/** ms before a container that could not be served is tried again: at first, and at most. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;

interface Thread {
  worker: Worker;
  ended: Promise<void>;
  say(message: DnsMessage): void;
  stop(): void;
}

/** Has a container's shim keep copies of these sockets: its next name server finds them, with what waits there. */
export type KeepSockets = (containerId: string, sockets: SocketNumbers) => void;

export class DnsService {
  readonly #logger: Logger;
  readonly #keep: KeepSockets;
  readonly #names = new Map<string, ContainerNames>();
  readonly #served = new Map<string, number>();
  /** Containers the thread has not said anything of yet, and who waits for that. */
  readonly #unready = new Map<string, PromiseWithResolvers<void>>();
  /** Containers that could not be served, and for how long (ms) was waited with the next try. */
  readonly #refused = new Map<string, number>();
  #thread: Thread | undefined;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(keep: KeepSockets, logger: Logger = silentLogger) {
    this.#keep = keep;
    this.#logger = logger;
  }

  /** What a container is called and where its questions go, from now on; before `serve`, and whenever it changes. */
  setNames(names: ContainerNames): void {
    this.#names.set(names.containerId, names);
    this.#say({ kind: "names", names });
  }

  /** The container's first process runs, as `pid`: its questions are answered. Again after the daemon's restart. */
  serve(containerId: string, pid: number): void {
    if (this.#served.get(containerId) === pid) return;
    this.#served.set(containerId, pid);
    this.#settle(containerId);
    this.#unready.set(containerId, Promise.withResolvers());
    this.#say({ kind: "serve", containerId, pid });
  }

  /**
   * Resolves when questions of a container that is served find somebody, or it is known that they will not. One that
   * began with its sockets need not wait: its questions do.
   */
  async ready(containerId: string): Promise<void> {
    const unready = this.#unready.get(containerId);
    if (unready === undefined) return;
    const limit = setTimeout(unready.resolve, READY);
    await unready.promise;
    clearTimeout(limit);
  }

  #settle(containerId: string): void {
    this.#unready.get(containerId)?.resolve();
    this.#unready.delete(containerId);
  }

  /** Does this container have names? */
  knows(containerId: string): boolean {
    return this.#names.has(containerId);
  }

  /** Its names vanish, and nobody answers it. Idempotent. */
  forget(containerId: string): void {
    const known = this.#names.delete(containerId);
    this.#settle(containerId);
    if (!this.#served.delete(containerId) && !known) return;
    if (this.#thread !== undefined) this.#say({ kind: "forget", containerId });
    if (this.#names.size === 0) this.#endSoon();
  }

  /** Lets go of everything; questions wait for the next daemon. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    // Its end is waited for, whatever else there is to wait for.
    this.#thread?.worker.ref();
    this.#thread?.stop();
    await this.#thread?.ended;
  }

  #say(message: DnsMessage): void {
    if (this.#closed) return;
    clearTimeout(this.#idle);
    if (this.#thread !== undefined) {
      this.#thread.say(message);
      return;
    }
    try {
      this.#thread = this.#start();
    } catch (error) {
      // The kernel has no thread to give now. Nobody waits for it; questions do.
      this.#logger.error("the name server's thread cannot be started", { error: String(error) });
      for (const containerId of [...this.#unready.keys()]) this.#settle(containerId);
      this.#replace();
      return;
    }
    for (const names of this.#names.values()) this.#thread.say({ kind: "names", names });
    for (const [containerId, pid] of this.#served) this.#thread.say({ kind: "serve", containerId, pid });
  }

  #endSoon(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#names.size > 0) return;
      this.#thread?.stop();
      this.#thread = undefined;
    }, IDLE).unref();
  }

  #start(): Thread {
    const fd = wakeDescriptor();
    const stop = new SharedArrayBuffer(4);
    const data: DnsThreadData = { wake: fd.number, stop };
    let worker: Worker;
    try {
      worker = startThread(new URL("./dns-worker.ts", import.meta.url), {
        name: "names",
        workerData: data,
        // Options of the main thread (test runners, inspectors) are not for it.
        execArgv: [],
        // Names and questions are small, and what is read of them is soon forgotten.
        resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 128 },
      });
    } catch (error) {
      fd.close();
      throw error;
    }
    worker.unref();
    const thread: Thread = {
      worker,
      ended: new Promise((resolve) => worker.once("exit", () => resolve())),
      say: (message) => {
        worker.postMessage(message);
        wake(fd.number);
      },
      stop: () => {
        Atomics.store(new Int32Array(stop), 0, 1);
        if (fd.isOpen) wake(fd.number);
      },
    };
    // Node waits for its threads when it ends, and this one waits for the network.
    process.once("exit", thread.stop);
    worker.on("message", (report: DnsReport) => {
      if (report.kind === "served" && report.made !== undefined) this.#keep(report.containerId, report.made);
      this.#settle(report.containerId);
      if (report.kind === "served") this.#refused.delete(report.containerId);
      else this.#serveLater(report.containerId, report.reason);
    });
    worker.on("error", (error) =>
      this.#logger.error("the name server's thread has failed", { error: String(error) }),
    );
    worker.once("exit", () => {
      process.removeListener("exit", thread.stop);
      fd.close();
      if (this.#thread === thread) this.#replace();
    });
    return thread;
  }

  /** Descriptors or memory may have been short. One that is gone is forgotten soon. */
  #serveLater(containerId: string, reason: string): void {
    const before = this.#refused.get(containerId);
    if (before === undefined)
      this.#logger.warn("a container has no name server", { container: containerId, reason });
    const pause = before === undefined ? FIRST_PAUSE : Math.min(2 * before, LONGEST_PAUSE);
    this.#refused.set(containerId, pause);
    setTimeout(() => {
      const pid = this.#served.get(containerId);
      if (pid === undefined) this.#refused.delete(containerId);
      else this.#say({ kind: "serve", containerId, pid });
    }, pause).unref();
  }

  #replace(): void {
    this.#thread = undefined;
    if (this.#closed || this.#names.size === 0) return;
    setTimeout(() => {
      const [names] = this.#names.values();
      if (this.#thread === undefined && names !== undefined) this.#say({ kind: "names", names });
    }, PAUSE).unref();
  }
}
