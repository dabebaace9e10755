/**
 * Receives one blob in a blob thread: reads from the network, hashes and writes to disk.
 *
 * What is already in the partial file is hashed first and the rest asked for by range. Decides nothing: repetition,
 * authorization and what a failure means are for the other side (`blob-transfer.ts`). Only a verified blob gets its name.
 */
import { createHash, type Hash } from "node:crypto";
import { writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { discarded } from "#kernel/buffer-garbage.ts";
import type { BlobRequest, BlobResult } from "./blob-messages.ts";
import { refusalOf } from "./blob-refusal.ts";
import { ExchangeError, type ExchangeResponse, exchange } from "./http-exchange.ts";

/** Bytes read at once of what is there already. */
const rereadSize = 256 * 1024;

/** One attempt. Throws ExchangeError where the network fails, the disk's errors as they come. */
export async function receiveBlob(
  request: BlobRequest,
  onProgress: (received: number, verifying: boolean) => void,
  signal: AbortSignal,
): Promise<BlobResult> {
  await mkdir(dirname(request.partial), { recursive: true, mode: 0o700 });
  const file = await open(request.partial, "a+", 0o600);
  try {
    const state = await resume(file, request, signal);
    if (state.received < request.size) {
      const refused = await transfer(onProgress, file, state, request, signal);
      if (refused !== undefined) return refused;
    }
    const digest = `sha256:${state.hash.digest("hex")}`;
    if (digest !== request.digest) return { outcome: "digest", actual: digest };
    // Not flushed: nothing but this process refers to the file, and a later one compares it again.
    onProgress(request.size, true);
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
    const buffer = Buffer.allocUnsafeSlow(rereadSize);
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, rereadSize, state.received);
      if (bytesRead === 0) break;
      state.hash.update(buffer.subarray(0, bytesRead));
      state.received += bytesRead;
    }
  }
  return state;
}

/** Fetches the missing rest into `file`; answers a result only where the registry refused. */
async function transfer(
  onProgress: (received: number, verifying: boolean) => void,
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
  if (response.status !== 200 && response.status !== 206) return refusalOf(response);
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
  checkLength(response, state.received, request);
  await write(onProgress, file, state, request, response);
  return undefined;
}

async function write(
  onProgress: (received: number, verifying: boolean) => void,
  file: FileHandle,
  state: State,
  request: BlobRequest,
  response: ExchangeResponse,
): Promise<void> {
  const body = (response.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const { patience } = request.transport;
  let since = performance.now();
  let before = state.received;
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
      // Once as it was read, once without HTTP's framing.
      discarded(2 * piece.length);
      onProgress(state.received, false);
      const now = performance.now();
      if (now - since < patience) continue;
      // A kilobyte a second: whoever sends less keeps us, and a layer would take days.
      if (state.received - before < patience) {
        throw new ExchangeError(`Get "${request.url}": i/o timeout, the registry only trickles`, "ETIMEDOUT");
      }
      since = now;
      before = state.received;
    }
  } finally {
    response.body.destroy();
  }
  if (state.received < request.size) throw new ExchangeError(`Get "${request.url}": unexpected EOF`, "EOF");
}

/** A registry that announces another length than the manifest is not worth reading. */
function checkLength(response: ExchangeResponse, received: number, request: BlobRequest): void {
  const announced = response.headers["content-length"];
  if (announced === undefined || Number(announced) + received === request.size) return;
  response.body.destroy();
  throw new ExchangeError(
    `Get "${request.url}": the registry has ${Number(announced) + received} bytes, its manifest says ${request.size}`,
    "ESIZE",
  );
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
    transport: request.transport,
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
