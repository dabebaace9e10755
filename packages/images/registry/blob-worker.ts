/**
 * A thread that moves blobs: receives and sends them away from the event loop.
 *
 * Does one thing after another's message and tells how it went; several transfers take turns. Decides nothing: repetition,
 * authorization and what a failure means are the other side's (`blob-transfer.ts`).
 */
import { open } from "node:fs/promises";
import { parentPort } from "node:worker_threads";
import type { BlobResult, FromBlobWorker, ToBlobWorker } from "./blob-messages.ts";
import { ExchangeError } from "./http-exchange.ts";
import { receiveBlob } from "./receive-blob.ts";

const port = parentPort;
if (port === null) throw new Error("blob-worker runs as a worker thread");

const cancellations = new Map<number, AbortController>();
/** Progress is told at most this often. */
const reportEveryMs = 100;

port.on("message", (message: ToBlobWorker) => {
  if (message.kind === "cancel") cancellations.get(message.id)?.abort();
  else void answer(message.id, (signal) => carryOut(message, signal));
});

function carryOut(
  message: Exclude<ToBlobWorker, { kind: "cancel" }>,
  signal: AbortSignal,
): Promise<BlobResult> {
  switch (message.kind) {
    case "sync":
      return syncFileSystem(message.path);
    case "receive":
      return receiveBlob(message.request, progressOf(message.id), signal);
    case "send":
      return send(message, signal);
  }
}

async function send(
  { id, request }: Extract<ToBlobWorker, { kind: "send" }>,
  signal: AbortSignal,
): Promise<BlobResult> {
  // Loaded here: most threads only receive, and replaying and compressing take libraries.
  const { sendLayer } = await import("./send-layer.ts");
  return sendLayer(request, progressOf(id), signal);
}

function progressOf(id: number): (current: number, verifying: boolean) => void {
  let told = 0;
  return (current, verifying) => {
    const now = performance.now();
    if (!verifying && now - told < reportEveryMs) return;
    told = now;
    tell({ kind: "progress", id, current, verifying });
  };
}

async function answer(id: number, work: (signal: AbortSignal) => Promise<BlobResult>): Promise<void> {
  const controller = new AbortController();
  cancellations.set(id, controller);
  let result: BlobResult;
  try {
    result = await work(controller.signal);
  } catch (error) {
    const { code = "EUNKNOWN", message } = error as NodeJS.ErrnoException;
    if (controller.signal.aborted) result = { outcome: "cancelled" };
    else if (error instanceof ExchangeError) result = { outcome: "network", code, message };
    else result = { outcome: "disk", code, message };
  }
  cancellations.delete(id);
  tell({ kind: "done", id, result });
}

function tell(message: FromBlobWorker): void {
  port?.postMessage(message);
}

/** A layer's files must be on the disk before a row says that they are. */
async function syncFileSystem(path: string): Promise<BlobResult> {
  // Loaded here: a thread that only receives has no use for the system call library.
  const { syncfs } = await import("#kernel/syscalls.ts");
  const directory = await open(path, "r");
  try {
    syncfs(directory.fd);
  } finally {
    await directory.close();
  }
  return { outcome: "complete" };
}
