/**
 * Taking connections in: all that wait at once, and no more than there are descriptors for.
 *
 * libuv takes one connection in each turn of the event loop, so that behind a thousand that come together the next one
 * waits for a thousand turns; the others are taken here, right behind the first. Past the limit nothing is taken
 * until somebody hangs up: who comes meanwhile waits in the kernel's queue, where without a limit the process would
 * run out of descriptors in the middle of its work. Owns no connection.
 */
import { Server as NetServer, type Server, Socket } from "node:net";
import type { Logger } from "#errors/logger-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { tryAccept } from "#kernel/nonblocking-sockets.ts";
import { duplicate } from "#kernel/syscalls.ts";

/** Connections that wait in the kernel's queue at most; net.core.somaxconn may be less. */
export const backlog = 4096;
/** Taken in one turn; the others in the next. */
const atOnce = 256;
/** Descriptors that are nobody's connection: database, listeners, workers, files for a moment. */
const ownDescriptors = 200;
/** A request to run something takes two more: the shim's control connection, and what is attached to it. */
const perConnection = 3;
/** Finds dead remote clients of idle streams, ms. */
const keepAliveDelay = 30_000;

/** How many connections may be open at once, all listeners together, with so many descriptors (RLIMIT_NOFILE). */
export function connectionLimit(descriptors: number): number {
  return Math.max(16, Math.floor((descriptors - ownDescriptors) / perConnection));
}

type Listening = Server & { _handle?: { fd?: number } | null };

export class Admission {
  readonly #limit: number;
  readonly #logger: Logger;
  /** Those that take connections; and, of those that don't now, the descriptor they listen on. */
  readonly #servers = new Map<Listening, FileDescriptor | undefined>();
  #open = 0;
  #told = false;

  constructor(limit: number, logger: Logger) {
    this.#limit = limit;
    this.#logger = logger;
  }

  /** Call before `server` listens. */
  watch(server: Server): void {
    const listening: Listening = server;
    this.#servers.set(listening, undefined);
    let injecting = false;
    server.on("connection", (socket: Socket) => {
      this.#open++;
      socket.on("close", () => this.#left());
      if (this.#open >= this.#limit) this.#pause();
      if (injecting) return;
      injecting = true;
      try {
        this.#takeWaiting(listening);
      } finally {
        injecting = false;
      }
    });
  }

  /** Takes no more, whoever leaves. */
  end(server: Server): void {
    this.#servers.get(server)?.close();
    this.#servers.delete(server);
  }

  #takeWaiting(server: Listening): void {
    for (let taken = 0; taken < atOnce; taken++) {
      const listener = server._handle?.fd;
      if (listener === undefined || listener < 0) return;
      const fd = tryAccept(listener);
      // Nobody, or what Node's own accept will run into, and tell.
      if (fd < 0) return;
      const socket = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
      socket.setNoDelay(true);
      socket.setKeepAlive(true, keepAliveDelay);
      server.emit("connection", socket);
    }
  }

  #pause(): void {
    if (!this.#told) {
      const hint = "more descriptors (LimitNOFILE) allow more connections";
      this.#logger.warn("no more connections are taken until one ends", { connections: this.#open, hint });
    }
    this.#told = true;
    for (const [server, paused] of this.#servers) {
      const fd = server._handle?.fd;
      if (paused !== undefined || fd === undefined || fd < 0) continue;
      this.#servers.set(server, new FileDescriptor(duplicate(fd)));
      // Of the listening socket alone: HTTP's own close would end idle connections.
      NetServer.prototype.close.call(server);
    }
  }

  #left(): void {
    this.#open--;
    if (this.#open >= this.#limit) return;
    for (const [server, paused] of this.#servers) {
      if (paused === undefined) continue;
      this.#servers.set(server, undefined);
      server.listen({ fd: paused.release() }, backlog);
    }
  }
}
