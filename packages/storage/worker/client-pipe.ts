/**
 * What a client sends, on its way to a worker: a pipe is between them, the event loop only passes on what comes.
 */
import { Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FileDescriptor } from "#kernel/fd.ts";
import { makePipe } from "#kernel/pipes.ts";

/** Bytes that have to be there, if the client has as many, before a worker has to do with it. */
const ENOUGH = 64 * 1024;

/**
 * Lets `read` read what a client sends from a pipe. When it has what it wants the rest stays with the client; when the client
 * fails before its end, that is the failure. Nothing begins before the client has sent something worth a thread, or all it has.
 */
export async function receiveInWorker<Result>(
  body: Readable,
  read: (source: FileDescriptor) => Promise<Result>,
): Promise<Result> {
  const begun = await firstBytes(body);
  const { read: source, write: end } = makePipe();
  const target = new Socket({ fd: end.release(), readable: false, writable: true });
  // A reader that had enough closes its end: no failure of the client's.
  const passed = pipeline(begun, target).catch((error: unknown) => (isClosedPipe(error) ? undefined : error));
  let result: Result;
  try {
    // Closed before the client's end is waited for: that may wait for room in the pipe.
    using own = source;
    result = await read(own);
  } catch (error) {
    // With an error: Node's pipeline waits for ever for the end of one that is destroyed without, where all has come of it.
    body.destroy(new Error("nobody reads it any more"));
    const failure = await passed;
    throw isCutShort(failure) ? failure : error;
  }
  const failure = await passed;
  if (failure !== undefined) throw failure;
  return result;
}

/** The same bytes, some of which have come, or all. Rejects where the client fails before. */
export function firstBytes(body: Readable): Promise<Readable> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (act: () => void) => {
      body.off("data", take).off("end", end).off("error", reject).off("close", gone);
      act();
    };
    const take = (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < ENOUGH) return;
      body.pause();
      settle(() => {
        body.unshift(Buffer.concat(chunks));
        resolve(body);
      });
    };
    const end = () => settle(() => resolve(Readable.from(chunks)));
    const gone = () =>
      settle(() => reject(body.errored ?? new DOMException("the client is gone", "AbortError")));
    if (body.readableEnded) end();
    else if (body.destroyed) gone();
    else body.on("data", take).on("end", end).on("error", reject).on("close", gone);
  });
}

function isClosedPipe(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    ["EPIPE", "ERR_STREAM_PREMATURE_CLOSE"].includes(String(error.code))
  );
}

/** The request ended too early: what the reader makes of half an archive is no news then. */
function isCutShort(error: unknown): boolean {
  return error instanceof Error && error.name === "BerthError";
}
