/**
 * Bytes from worker threads to clients. Where the connection is a bare socket the worker writes to it itself; else a pipe is
 * between them and the event loop only passes on what comes. The other way: storage/worker/client-pipe.ts.
 */
import { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { BodyOutput } from "#engine/files/file-service-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { makePipe } from "#kernel/pipes.ts";
import { duplicate } from "#kernel/syscalls.ts";
import type { Sink } from "#storage/files/file-tasks.ts";

/** Lets `write` write to the body; resolves when it has, and everything is on its way. */
export async function sendFromWorker(
  { stream, connection }: BodyOutput,
  write: (sink: Sink) => Promise<void>,
): Promise<void> {
  const fd = connection === undefined ? undefined : descriptorOf(connection.socket);
  if (connection !== undefined && fd !== undefined) {
    // A descriptor of its own: the connection may be closed, and its number be something else, at any moment.
    using own = new FileDescriptor(duplicate(fd));
    await write({ fd: own.number, framing: connection.framing });
    return;
  }
  const { read, write: end } = makePipe();
  const source = new Socket({ fd: read.release(), readable: true, writable: false });
  const passed = pipeline(source, stream, { end: false });
  const written = write({ fd: end.number, framing: "plain" }).finally(() => end.close());
  const [first, second] = await Promise.allSettled([written, passed]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw new DOMException("the client is gone", "AbortError");
}

/** Number of a bare socket's descriptor, once nothing waits to be written to it. */
function descriptorOf(socket: Socket & { _handle?: { fd?: number } | null }): number | undefined {
  const fd = socket._handle?.fd;
  return fd !== undefined && fd >= 0 && socket.writableLength === 0 ? fd : undefined;
}
