/**
 * Bytes from worker threads to clients. Where the connection is a bare socket the worker writes to it itself; else a pipe is
 * between them and the event loop only passes on what comes. The other way: storage/worker/client-pipe.ts.
 */
import { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { BodyOutput } from "#engine/files/file-service-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { makeNonblocking, makePipe } from "#kernel/pipes.ts";
import { SO_SNDBUFFORCE, SOL_SOCKET, setsockopt } from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { duplicate } from "#kernel/syscalls.ts";
import type { Sink } from "#storage/files/file-tasks.ts";

/** Bytes on their way to a client, at most. */
const sendBuffer = 1 << 20;

/** Lets `write` write to the body; resolves when it has, and everything is on its way. */
export async function sendFromWorker(
  { stream, connection }: BodyOutput,
  write: (sink: Sink) => Promise<void>,
): Promise<void> {
  const fd = connection === undefined ? undefined : descriptorOf(connection.socket);
  if (connection !== undefined && fd !== undefined) {
    // A descriptor of its own: the connection may be closed, and its number be something else, at any moment.
    using own = new FileDescriptor(duplicate(fd));
    // On this machine: the kernel sizes the buffers of others by what is between.
    if (connection.socket.remoteAddress === undefined) widen(own);
    await write({ fd: own.number, framing: connection.framing });
    return;
  }
  const { read, write: end } = makePipe();
  // The thread waits for room by itself, and looks meanwhile whether it is to go on.
  makeNonblocking(end);
  const source = new Socket({ fd: read.release(), readable: true, writable: false });
  const passed = pipeline(source, stream, { end: false });
  const written = write({ fd: end.number, framing: "plain" }).finally(() => end.close());
  const [first, second] = await Promise.allSettled([written, passed]);
  if (first.status === "rejected") throw first.reason;
  if (second.status === "rejected") throw new DOMException("the client is gone", "AbortError");
}

/** With the usual 208 KiB worker and client take turns; with more, both are at work. */
function widen(socket: FileDescriptor): void {
  try {
    setsockopt(socket.number, SOL_SOCKET, SO_SNDBUFFORCE, sendBuffer);
  } catch (error) {
    // For root alone; without it, it only takes longer. Or the client is gone, which the first write will tell.
    if (!(error instanceof SyscallError)) throw error;
  }
}

/** Number of a bare socket's descriptor, once nothing waits to be written to it. */
function descriptorOf(socket: Socket & { _handle?: { fd?: number } | null }): number | undefined {
  const fd = socket._handle?.fd;
  return fd !== undefined && fd >= 0 && socket.writableLength === 0 ? fd : undefined;
}
