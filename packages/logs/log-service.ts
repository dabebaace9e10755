/**
 * What the engine has of logs: reading them for clients, and following every container's output to where its driver
 * sends it. Data is moved by a worker thread, which is there while there is something to do.
 *
 * Owns the thread. Nothing a container needs hangs on it: shims write their files without asking.
 */
import { readdirSync, statSync } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import type { Logger } from "#errors/logger-types.ts";
import { endThread, startThread } from "#kernel/threads.ts";
import type { ContainerLogs } from "#logs/container-logs.ts";
import { logFileNames } from "#logs/log-files.ts";
import type { LogLocation, LogReadOptions, LogSource } from "#logs/log-types.ts";
import { readLog } from "#logs/read-log.ts";
import type { ShipTask } from "#logs/ship-types.ts";
import type { FromLogWorker, ToLogWorker } from "#logs/worker/log-messages.ts";

/** Bytes that are read here: to start a thread takes longer. */
const SMALL = 256 * 1024;
/** Between a rotation and the look at it, ms: shims tell of one a second, but there may be more. */
const SETTLE = 1500;
/** A thread without work is kept so long, ms. */
const IDLE = 5_000;
/** Until output is passed on again where that failed, ms. */
const PASS_ON_AGAIN = 5_000;

interface Job {
  onPiece?: (bytes: Uint8Array<ArrayBuffer>) => void;
  onWarning?: (text: string) => void;
  onDone: (error: string | undefined) => void;
}

/** A container's output being passed on, by one job after the other. */
interface Shipping {
  job: number;
  /** Aborted: no further job. */
  stopped: AbortController;
}

/** A container whose log is followed. */
interface Followed {
  logs: ContainerLogs;
  timer: NodeJS.Timeout | undefined;
  /** As long as there may be output that has not been passed on. */
  shipping: Shipping | undefined;
  /** Runs of the container that have not ended. */
  running: number;
  /** Settles when nothing is left to be done. */
  settled: Promise<void>;
}

export class LogService {
  readonly #logger: Logger;
  readonly #jobs = new Map<number, Job>();
  readonly #followed = new Map<string, Followed>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #nextJob = 1;
  #closed = false;
  readonly #pause: number;

  /** `pause`: until what failed is tried again, ms. */
  constructor(logger: Logger, pause = PASS_ON_AGAIN) {
    this.#logger = logger;
    this.#pause = pause;
  }

  /** The log as a client wants it; ends with the container if it is followed, or on `signal`. */
  read(source: LogSource, options: LogReadOptions, signal: AbortSignal): Readable {
    if (!options.follow && sizeOf(source) <= SMALL) return readLog(source, options, signal);
    const { ended, directory, name, form } = source;
    let job = 0;
    const stop = () => this.#tell({ kind: "stop", job });
    const stream = new Readable({
      highWaterMark: 1,
      read: () => this.#tell({ kind: "more", job }),
      destroy: (error, done) => {
        stop();
        done(error);
      },
    });
    job = this.#begin(
      {
        onPiece: (bytes) => stream.push(Buffer.from(bytes.buffer)),
        onDone: (error) => {
          signal.removeEventListener("abort", stop);
          if (error === undefined) stream.push(null);
          else stream.destroy(new Error(error));
        },
      },
      (number) => ({ kind: "read", job: number, log: { directory, name, form }, options }),
    );
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    ended.then(
      () => this.#tell({ kind: "ended", job }),
      () => this.#tell({ kind: "ended", job }),
    );
    return stream;
  }

  /**
   * Does with a container's output what is to be done, from now until after its end: passes it on, compresses. May be
   * called again for the same container when it runs again, and for one that ended while nobody looked.
   */
  follow(id: string, logs: ContainerLogs, ended: Promise<unknown>): void {
    if (this.#closed || (logs.ship === undefined && !logs.files.compress)) return;
    let followed = this.#followed.get(id);
    if (followed === undefined) {
      followed = { logs, timer: undefined, shipping: undefined, running: 0, settled: Promise.resolve() };
      this.#followed.set(id, followed);
    }
    const container = followed;
    container.logs = logs;
    container.running++;
    if (logs.ship === undefined) this.#compressSoon(container);
    else if (container.shipping === undefined) container.settled = this.#ship(id, container);
    const end = () => {
      container.running--;
      if (container.running > 0) return;
      if (container.shipping !== undefined) this.#tell({ kind: "ended", job: container.shipping.job });
      if (container.logs.ship === undefined) this.#compressSoon(container);
    };
    ended.then(end, end);
  }

  /** A shim has begun a new file. */
  rotated(id: string): void {
    const container = this.#followed.get(id);
    if (container !== undefined && container.logs.ship === undefined) this.#compressSoon(container);
  }

  /** The container is to go: waits until its output is passed on, but no longer than `patience` milliseconds. */
  async forget(id: string, patience: number): Promise<void> {
    const container = this.#followed.get(id);
    if (container === undefined) return;
    clearTimeout(container.timer);
    container.timer = undefined;
    if (container.shipping !== undefined) {
      const controller = new AbortController();
      const inTime = await Promise.race([
        container.settled.then(() => true),
        sleep(patience, false, { signal: controller.signal }).catch(() => true),
      ]);
      controller.abort();
      if (!inTime) {
        this.#logger.warn("a removed container's log output could not be delivered", { container: id });
        if (container.shipping !== undefined) this.#stopShipping(container.shipping);
      }
    }
    await container.settled;
    this.#followed.delete(id);
  }

  /** Stops; what has not been passed on is found by the next daemon. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { timer, shipping } of this.#followed.values()) {
      clearTimeout(timer);
      shipping?.stopped.abort();
    }
    for (const job of this.#jobs.keys()) this.#tell({ kind: "stop", job });
    await Promise.race([
      Promise.all([...this.#followed.values()].map(({ settled }) => settled)),
      sleep(IDLE, undefined, { ref: false }),
    ]);
    clearTimeout(this.#idle);
    if (this.#worker !== undefined) await endThread(this.#worker);
  }

  /** Resolves when all that the container has written is passed on and it runs no more, or when it is stopped. */
  async #ship(id: string, container: Followed): Promise<void> {
    const shipping: Shipping = { job: 0, stopped: new AbortController() };
    const { signal } = shipping.stopped;
    container.shipping = shipping;
    let goOn = true;
    while (goOn && container.logs.ship !== undefined) {
      const error = await this.#shipOnce(id, container, shipping, container.logs.ship);
      if (error !== undefined) {
        this.#logger.error("passing on a log failed", { container: id, error });
        await sleep(this.#pause, undefined, { ref: false, signal }).catch(() => undefined);
      }
      // It was started again just when the last of its output had been passed on, or something went wrong.
      goOn = !signal.aborted && (container.running > 0 || error !== undefined);
    }
    container.shipping = undefined;
  }

  /** Answers what went wrong. */
  #shipOnce(
    id: string,
    container: Followed,
    shipping: Shipping,
    task: ShipTask,
  ): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const onWarning = (text: string) => this.#logger.warn(text, { container: id, driver: task.sink.kind });
    shipping.job = this.#begin({ onWarning, onDone: resolve }, (job) => ({ kind: "ship", job, task }));
    // It ended while there was no job that could be told.
    if (container.running === 0) this.#tell({ kind: "ended", job: shipping.job });
    return promise;
  }

  #stopShipping({ job, stopped }: Shipping): void {
    stopped.abort();
    this.#tell({ kind: "stop", job });
  }

  #compressSoon(container: Followed): void {
    container.timer ??= setTimeout(() => {
      container.timer = undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = container.settled;
      container.settled = promise;
      const { log } = container.logs;
      const onDone = (error: string | undefined) => {
        if (error !== undefined) this.#logger.warn("compressing a log failed", { log: log.name, error });
        resolve();
      };
      // One after the other: they share the name of what is half done.
      void before.then(() => this.#begin({ onDone }, (job) => ({ kind: "compress", job, log })));
    }, SETTLE).unref();
  }

  #begin(job: Job, message: (number: number) => ToLogWorker): number {
    const number = this.#nextJob++;
    this.#jobs.set(number, job);
    clearTimeout(this.#idle);
    try {
      this.#worker ??= this.#start();
      this.#worker.postMessage(message(number));
    } catch (error) {
      // The kernel has no thread to give. It ends like any other job, when its number is known.
      setImmediate(() => {
        if (this.#jobs.delete(number)) job.onDone(String(error));
      });
    }
    return number;
  }

  #tell(message: ToLogWorker): void {
    if (this.#jobs.has(message.job)) this.#worker?.postMessage(message);
  }

  #start(): Worker {
    const worker = startThread(new URL("./worker/log-worker.ts", import.meta.url), {
      name: "logs",
      // Options of the main thread (test runners, inspectors) are not for it.
      execArgv: [],
    });
    worker.on("message", (message: FromLogWorker) => this.#take(message));
    worker.on("error", (error) => this.#lost(worker, error));
    worker.on("exit", () => this.#lost(worker, new Error("the log worker ended unexpectedly")));
    worker.unref();
    return worker;
  }

  #take(message: FromLogWorker): void {
    const job = this.#jobs.get(message.job);
    if (job === undefined) return;
    if (message.kind === "piece") job.onPiece?.(message.bytes);
    else if (message.kind === "warning") job.onWarning?.(message.text);
    else {
      this.#jobs.delete(message.job);
      job.onDone(message.error);
      if (this.#jobs.size === 0) this.#rest();
    }
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      const worker = this.#worker;
      this.#worker = undefined;
      if (worker !== undefined) void endThread(worker);
    }, IDLE).unref();
  }

  #lost(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const job of jobs) job.onDone(error.message);
  }
}

/** Bytes of all files of a log. */
function sizeOf({ directory, name }: LogLocation): number {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return 0;
  }
  return logFileNames(names, name).reduce(
    (sum, file) => sum + (statSync(`${directory}/${file.name}`, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
