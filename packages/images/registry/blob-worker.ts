/**
 * The thread that receives blobs: reads from the network, hashes and writes to disk, away from the event loop.
 *
 * One attempt per request; what is already in the partial file is hashed first and the rest asked for by range. Decides
 * nothing: repetition, authorization and what a failure means are the other side's (`blob-transfer.ts`).
 */
import { createHash, type Hash } from "node:crypto";
import { writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { parentPort } from "node:worker_threads";
import type { BlobRequest, BlobResult, FromBlobWorker, ToBlobWorker } from "./blob-messages.ts";
import { ExchangeError, type ExchangeResponse, exchange, readBody } from "./http-exchange.ts";

const port = parentPort;
if (port === null) throw new Error("blob-worker runs as a worker thread");

const cancellations = new Map<number, AbortController>();
/** Progress is told at most this often. */
const reportEveryMs = 100;
const refusalLimit = 64 << 10;

port.on("message", (message: ToBlobWorker) => {
  if (message.kind === "cancel") {
    cancellations.get(message.id)?.abort();
  } else if (message.kind === "sync") {
    void answer(message.id, () => syncFileSystem(message.path));
  } else {
    void answer(message.id, (signal) => receive(message.id, message.request, signal));
  }
});

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

async function receive(id: number, request: BlobRequest, signal: AbortSignal): Promise<BlobResult> {
  await mkdir(dirname(request.partial), { recursive: true, mode: 0o700 });
  const file = await open(request.partial, "a+", 0o600);
  try {
    const state = await resume(file, request, signal);
    if (state.received < request.size) {
      const refused = await transfer(id, file, state, request, signal);
      if (refused !== undefined) return refused;
    }
    const digest = `sha256:${state.hash.digest("hex")}`;
    if (digest !== request.digest) return { outcome: "digest", actual: digest };
    tell({ kind: "progress", id, received: request.size, verifying: true });
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(request.partial, request.target);
  return { outcome: "complete" };
}

interface State {
  hash: Hash;
  received: number;
}

/** Hashes what an earlier attempt left; starts over where that is more than the whole. */
async function resume(file: FileHandle, request: BlobRequest, signal: AbortSignal): Promise<State> {
  const state: State = { hash: createHash("sha256"), received: 0 };
  const { size } = await file.stat();
  if (size > request.size) await file.truncate(0);
  else if (size > 0) {
    const existing = file.createReadStream({ start: 0, autoClose: false, highWaterMark: 1 << 20 });
    for await (const piece of existing as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      state.hash.update(piece);
      state.received += piece.length;
    }
  }
  return state;
}

/** Fetches the missing rest into `file`; answers a result only where the registry refused. */
async function transfer(
  id: number,
  file: FileHandle,
  state: State,
  request: BlobRequest,
  signal: AbortSignal,
): Promise<BlobResult | undefined> {
  let response = await ask(request, state.received, signal);
  if (response.status === 416) {
    response.body.destroy();
    await restart(file, state);
    response = await ask(request, 0, signal);
  }
  if (response.status !== 200 && response.status !== 206) return refusal(response);
  if (response.status === 206 ? !continuesAt(response, state.received) : state.received > 0) {
    await restart(file, state);
    if (response.status === 206) {
      response.body.destroy();
      throw new ExchangeError(
        `Get "${request.url}": the registry sent another range than asked for`,
        "ERANGE",
      );
    }
  }
  await write(id, file, state, request, response);
  return undefined;
}

async function write(
  id: number,
  file: FileHandle,
  state: State,
  request: BlobRequest,
  response: ExchangeResponse,
): Promise<void> {
  let told = 0;
  const body = (response.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const piece = await next(body, request);
      if (piece === undefined) break;
      state.received += piece.length;
      if (state.received > request.size) {
        throw new ExchangeError(
          `Get "${request.url}": the registry sends more than ${request.size} bytes`,
          "ETOOLONG",
        );
      }
      state.hash.update(piece);
      for (let at = 0; at < piece.length; ) at += writeSync(file.fd, piece, at);
      const now = performance.now();
      if (now - told >= reportEveryMs) {
        told = now;
        tell({ kind: "progress", id, received: state.received, verifying: false });
      }
    }
  } finally {
    response.body.destroy();
  }
  if (state.received < request.size) throw new ExchangeError(`Get "${request.url}": unexpected EOF`, "EOF");
}

/** Errors of the stream are the network's; those of writing must stay the disk's. */
async function next(body: AsyncIterator<Buffer>, request: BlobRequest): Promise<Buffer | undefined> {
  try {
    const { done, value } = await body.next();
    return done === true ? undefined : value;
  } catch (error) {
    const { code = "EOF" } = error as NodeJS.ErrnoException;
    throw new ExchangeError(`Get "${request.url}": unexpected EOF`, code, error);
  }
}

function ask(request: BlobRequest, from: number, signal: AbortSignal): Promise<ExchangeResponse> {
  const range: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
  return exchange({
    method: "GET",
    url: request.url,
    headers: { ...request.headers, ...range },
    insecure: request.insecure,
    signal,
  });
}

async function restart(file: FileHandle, state: State): Promise<void> {
  await file.truncate(0);
  state.hash = createHash("sha256");
  state.received = 0;
}

function continuesAt(response: ExchangeResponse, from: number): boolean {
  return /^bytes (\d+)-/.exec(response.headers["content-range"] ?? "")?.[1] === String(from);
}

async function refusal(response: ExchangeResponse): Promise<BlobResult> {
  const body = (await readBody(response, refusalLimit)).toString("utf8");
  return {
    outcome: "refused",
    status: response.status,
    wwwAuthenticate: response.headers["www-authenticate"],
    retryAfter: response.headers["retry-after"],
    body,
  };
}
