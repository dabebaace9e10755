/**
 * What a client sends, on its way to a worker: a pipe is between them, the event loop only passes on what comes.
 */
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FileDescriptor } from "#kernel/fd.ts";
import { makePipe } from "#kernel/pipes.ts";

/**
 * Lets `read` read what a client sends from a pipe. When it has what it wants the rest stays with the client; when the client
 * fails before its end, that is the failure.
 */
export async function receiveInWorker<Result>(
  body: Readable,
  read: (source: FileDescriptor) => Promise<Result>,
): Promise<Result> {
  const { read: source, write: end } = makePipe();
  const target = new Socket({ fd: end.release(), readable: false, writable: true });
  // A reader that had enough closes its end: no failure of the client's.
  const passed = pipeline(body, target).catch((error: unknown) => (isClosedPipe(error) ? undefined : error));
  let result: Result;
  try {
    result = await read(source);
  } catch (error) {
    body.destroy();
    const failure = await passed;
    throw isCutShort(failure) ? failure : error;
  } finally {
    source.close();
  }
  const failure = await passed;
  if (failure !== undefined) throw failure;
  return result;
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
