/**
 * What takes long is done elsewhere: the thread that serves all unions does not stand still while one of them waits for a
 * disk. The request is put aside; when the errand is done it is answered, or carried out anew.
 */
import { quickClose } from "#kernel/fuse/quick-calls.ts";
import type { UnionNode } from "#storage/union/union-node.ts";

export type Errand =
  /** Writes an open file back. */
  | { kind: "sync"; fd: number; dataOnly: boolean }
  /** Copies the content of one open file to another, empty one, and writes it back. */
  | { kind: "copy"; from: number; to: number };

/** A copy that is being made of a file below, among the orphans. */
export interface Copying {
  made: string;
  done: boolean;
  ticket: number;
}

/** Thrown by what cannot go on before an errand is done. */
export class Postponed extends Error {
  readonly ticket: number;
  /** Is the request carried out again, or was the errand all of it? */
  readonly again: boolean;

  constructor(ticket: number, again: boolean) {
    super("postponed");
    this.ticket = ticket;
    this.again = again;
  }
}

interface Pending {
  close: readonly number[];
  /** Called with the error number, 0 for none, before the requests that wait. */
  settled: ((errno: number) => void) | undefined;
  waiting: ((errno: number) => void)[];
}

export class Errands {
  readonly #send: (ticket: number, errand: Errand) => void;
  readonly #pending = new Map<number, Pending>();
  #next = 1;

  /** `send`: has an errand done by somebody; `done` is to be called then. */
  constructor(send: (ticket: number, errand: Errand) => void) {
    this.#send = send;
  }

  /** Sends; answers the ticket. The descriptors in `close` are closed when it is done. */
  begin(errand: Errand, close: readonly number[], settled?: (errno: number) => void): number {
    const ticket = this.#next++;
    this.#pending.set(ticket, { close, settled, waiting: [] });
    this.#send(ticket, errand);
    return ticket;
  }

  /** Calls when an errand is done. */
  wait(ticket: number, then: (errno: number) => void): void {
    const pending = this.#pending.get(ticket);
    if (pending === undefined) then(0);
    else pending.waiting.push(then);
  }

  done(ticket: number, errno: number): void {
    const pending = this.#pending.get(ticket);
    if (pending === undefined) return;
    this.#pending.delete(ticket);
    for (const fd of pending.close) quickClose(fd);
    pending.settled?.(errno);
    for (const then of pending.waiting) then(errno);
  }
}

/** A copy that was made, or undefined; throws while it is being made, and after `begin` has begun it. */
export function readyCopy(node: UnionNode, begin: () => Copying): string {
  node.copying ??= begin();
  const { made, done, ticket } = node.copying;
  if (!done) throw new Postponed(ticket, true);
  node.copying = undefined;
  return made;
}
