/**
 * Open connections, and the requests on them that want to know when their client is gone. Owns no connection:
 * hangs up only when the whole server closes.
 */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** One for all: making a reason costs more than most requests need for anything else. */
const GONE = new DOMException("the client is gone", "AbortError");

export class Connections {
  readonly #waiting = new Map<Duplex, Set<AbortController>>();
  #allGone: (() => void) | undefined;

  add(socket: Duplex): void {
    this.#waiting.set(socket, new Set());
    // A client that shuts its side down while it waits doesn't wait any more, as with dockerd.
    socket.on("end", () => this.#abort(socket));
    socket.on("close", () => {
      this.#abort(socket);
      this.#waiting.delete(socket);
      if (this.#waiting.size === 0) this.#allGone?.();
    });
  }

  signalFor(socket: Duplex, response: ServerResponse): AbortSignal {
    const controller = new AbortController();
    const waiting = this.#waiting.get(socket);
    waiting?.add(controller);
    response.on("close", () => {
      waiting?.delete(controller);
      if (!response.writableFinished) controller.abort(GONE);
    });
    return controller.signal;
  }

  /** Is an answer due on it that is not out yet? */
  owesAnswer(socket: Duplex): boolean {
    return (this.#waiting.get(socket)?.size ?? 0) > 0;
  }

  abortAll(): void {
    for (const socket of this.#waiting.keys()) this.#abort(socket);
  }

  destroyAll(): void {
    for (const socket of this.#waiting.keys()) socket.destroy();
  }

  allGone(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#allGone = resolve;
    });
  }

  #abort(socket: Duplex): void {
    for (const controller of this.#waiting.get(socket) ?? []) controller.abort(GONE);
  }
}
