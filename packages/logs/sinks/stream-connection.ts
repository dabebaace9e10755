/**
 * A connection that is made when it is needed, and again after it was lost. What is written counts as delivered when
 * the kernel has it: a daemon that is killed leaves that to be sent.
 */
import { connect as connectTcp, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

export interface StreamTarget {
  host: string;
  port: number;
  /** Of a unix socket; empty for TCP. */
  path: string;
  /** With TLS, if given. */
  tls?: ConnectionOptions;
}

/** For protocols in which the other side has something to say. */
export interface StreamListener {
  onData(chunk: Buffer): void;
  onClose(): void;
}

/** To connect, and to get rid of what was written, ms. */
const PATIENCE = 10_000;

export class StreamConnection {
  readonly #target: StreamTarget;
  readonly #listener: StreamListener | undefined;
  #socket: Socket | undefined;

  constructor(target: StreamTarget, listener?: StreamListener) {
    this.#target = target;
    this.#listener = listener;
  }

  /** Resolves when the kernel has all of it. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const socket = await this.#connected(signal);
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error | null) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", give_up);
        socket.off("close", lost);
        if (error) reject(error);
        else resolve();
      };
      const lost = () => settle(new Error("the connection was lost"));
      const give_up = () => {
        socket.destroy();
        settle(new Error("given up"));
      };
      const timer = setTimeout(() => {
        socket.destroy();
        settle(new Error("the other side takes nothing"));
      }, PATIENCE);
      signal.addEventListener("abort", give_up);
      socket.once("close", lost);
      socket.write(bytes, settle);
      // Taken at once: no turn of the event loop between delivery and the record of it.
      if (socket.writableLength === 0 && !socket.destroyed) settle();
    });
  }

  /** The connection is of no more use. */
  drop(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), PATIENCE);
      socket.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end();
      // Who never ends from its side is not waited for.
      socket.once("finish", () => setTimeout(() => socket.destroy(), 200));
    });
  }

  async #connected(signal: AbortSignal): Promise<Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    const { host, port, path, tls } = this.#target;
    const where = path === "" ? { host, port } : { path };
    const socket = tls === undefined ? connectTcp(where) : connectTls({ ...where, ...tls });
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        socket.destroy();
        reject(error);
      };
      const abort = () => fail(new Error("given up"));
      const timer = setTimeout(() => fail(new Error("no answer to the connection")), PATIENCE);
      signal.addEventListener("abort", abort);
      socket.once("error", fail);
      socket.once(tls === undefined ? "connect" : "secureConnect", () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        socket.off("error", fail);
        resolve();
      });
    });
    // What went wrong shows where something is written next.
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => this.#listener?.onData(chunk));
    // A peer that has ended its side takes nothing more, however long the kernel says otherwise.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#listener?.onClose());
    return socket;
  }
}
