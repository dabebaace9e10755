/**
 * The thread that moves log data: reads logs for clients, compresses what was rotated, passes on what drivers send
 * elsewhere. The daemon's own thread sees finished pieces only.
 */
import { parentPort } from "node:worker_threads";
import { compressLog } from "#logs/compress-log.ts";
import { readLog } from "#logs/read-log.ts";
import { shipLog } from "#logs/ship-log.ts";
import type { FromLogWorker, ToLogWorker } from "#logs/worker/log-messages.ts";

const port = parentPort;
if (port === null) throw new Error("log-worker.ts only runs as a worker thread");

interface Job {
  controller: AbortController;
  ended: () => void;
  /** Of a reader: pieces asked for and not yet sent, and whoever waits for one to be asked for. */
  wanted: number;
  wake: () => void;
}

const jobs = new Map<number, Job>();

port.on("message", (message: ToLogWorker) => {
  const job = jobs.get(message.job);
  switch (message.kind) {
    case "more":
      if (job === undefined) return;
      job.wanted++;
      job.wake();
      break;
    case "ended":
      job?.ended();
      break;
    case "stop":
      job?.controller.abort();
      job?.wake();
      break;
    default:
      void run(message);
  }
});

async function run(message: Extract<ToLogWorker, { kind: "compress" | "ship" | "read" }>): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const controller = new AbortController();
  const job: Job = { controller, ended: ended.resolve, wanted: 0, wake: () => undefined };
  jobs.set(message.job, job);
  let error: string | undefined;
  try {
    if (message.kind === "compress") await compressLog(message.log);
    else if (message.kind === "ship") {
      const warn = (text: string) => tell({ kind: "warning", job: message.job, text });
      await shipLog(message.task, { ended: ended.promise, signal: controller.signal, warn });
    } else await read(message, job, ended.promise);
  } catch (cause) {
    error = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  }
  jobs.delete(message.job);
  tell({ kind: "done", job: message.job, error });
}

async function read(
  { job: number, log, options }: Extract<ToLogWorker, { kind: "read" }>,
  job: Job,
  ended: Promise<void>,
): Promise<void> {
  const { signal } = job.controller;
  for await (const piece of readLog({ ...log, ended }, options, signal)) {
    while (job.wanted === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        job.wake = resolve;
      });
    }
    if (signal.aborted) return;
    job.wanted--;
    // Its own memory, which goes with it.
    const bytes = Uint8Array.from(piece as Buffer);
    tell({ kind: "piece", job: number, bytes }, [bytes.buffer]);
  }
}

function tell(message: FromLogWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}
