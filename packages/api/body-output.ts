/**
 * Bodies that are not written here: the head goes out, then whoever has the bytes writes them, to the connection itself
 * where that is possible, and the answer is ended here.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { BodyOutput } from "#engine/files/file-service-types.ts";
import type { RequestContext } from "./request-context.ts";

/** Answers 200 with a body that `send` writes. A failure after the head cuts the connection, which clients notice. */
export async function sendBody(
  context: RequestContext,
  headers: Record<string, string>,
  send: (output: BodyOutput) => Promise<void>,
): Promise<void> {
  const { response, signal } = context;
  response.writeHead(200, headers);
  response.flushHeaders();
  const socket = response.socket ?? (await turnOf(response, signal));
  if (socket === undefined) return;
  await flushed(socket);
  try {
    await send({ stream: response, connection: connectionOf(response, socket) });
    response.end();
  } catch (error) {
    if (!signal.aborted)
      context.logger.error("an answer was cut short", { operation: context.operation, error });
    response.destroy();
  }
}

/** The connection, once the answers to what was asked before on it are out; undefined where the client is gone by then. */
function turnOf(response: ServerResponse, signal: AbortSignal): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const gone = () => resolve(undefined);
    response.once("socket", (socket: Socket) => {
      signal.removeEventListener("abort", gone);
      resolve(socket);
    });
    if (signal.aborted) gone();
    else signal.addEventListener("abort", gone, { once: true });
  });
}

/** Resolves when the head is in the kernel's hands, or the client is gone. */
function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.writableLength === 0 || socket.destroyed) resolve();
    else socket.write("", () => resolve());
  });
}

function connectionOf(response: ServerResponse, socket: Socket): BodyOutput["connection"] {
  if (socket instanceof TLSSocket) return undefined;
  return { socket, framing: response.chunkedEncoding ? "http-chunks" : "plain" };
}
