/**
 * The daemon's side of the unions: orders to the program that serves them (apps/berth-union), which the first of all
 * starts. It outlives the daemon: a later one finds it by the name of its socket.
 *
 * Owns its connection, nothing else.
 */
import { spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { UnionAnswer, UnionListed, UnionMount, UnionOrder, Unions } from "#storage/union/union-types.ts";

export interface UnionClientParts {
  /** Where the program listens or shall listen. */
  socketPath: string;
  /** What starts it; the socket's path is added: [node, "dist/berth-union.cjs"]. */
  program: readonly string[];
  /** Told when the program has ended while this was connected to it. */
  onEnd?: () => void;
  /** How long the program may say nothing while it has orders, ms; 30,000 if not given. */
  patience?: number;
}

/** Copying a large file with holes keeps the program longest from answering. */
const PATIENCE = 30_000;
/** And from then on, until it says something: whoever has waited asks for more, to undo what he began. */
const LITTLE_PATIENCE = 2_000;

/** How long a program may take until it listens, ms. Only one that is broken gets to the end. */
const START_PATIENCE = 20_000;
const LOOK_AGAIN = 10;

/** The longest path in a unix address, in bytes. */
const LONGEST_PATH = 107;

/** A way to a socket that fits its address, until it is closed. */
function shortPath(path: string): { path: string; close: () => void } {
  if (Buffer.byteLength(path) <= LONGEST_PATH) return { path, close: () => {} };
  let directory: number;
  try {
    directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    // Nobody is there; connecting says so.
    return { path: `/proc/self/${basename(path)}`, close: () => {} };
  }
  return { path: `/proc/self/fd/${directory}/${basename(path)}`, close: () => closeSync(directory) };
}

/** The connection has ended before the answer came. */
class HungUp extends Error {}

export class UnionClient implements Unions {
  readonly #parts: UnionClientParts;
  #socket: Promise<Socket> | undefined;
  /** What `#socket` has become. */
  #live: Socket | undefined;
  /** Runs while an answer is waited for, from the one before. */
  #silence: NodeJS.Timeout | undefined;
  #wasSilent = false;
  readonly #waiting: ((answer: UnionAnswer | Error) => void)[] = [];
  #input = "";

  constructor(parts: UnionClientParts) {
    this.#parts = parts;
  }

  async mount(union: UnionMount): Promise<void> {
    const { mountPoint, branches } = union;
    await this.#order({ order: "mount", mountPoint, branches }, true);
  }

  async unmount(mountPoint: string): Promise<void> {
    await this.#order({ order: "unmount", mountPoint }, true);
  }

  async list(): Promise<UnionListed[]> {
    try {
      return (await this.#order({ order: "list" }, false)).unions ?? [];
    } catch (error) {
      if (isErrno(error, "ENOENT", "ECONNREFUSED")) return [];
      throw error;
    }
  }

  close(): void {
    const socket = this.#socket;
    this.#forget(
      new BerthError("unavailable", "the program that serves unions was let go", {
        operation: "serve unions",
        object: this.#parts.socketPath,
      }),
    );
    void socket?.then(
      (open) => open.destroy(),
      () => {
        // It never opened.
      },
    );
  }

  async #order(order: UnionOrder, start: boolean): Promise<UnionAnswer & { ok: true }> {
    const answer = await this.#ask(order, start).catch((error: unknown) => {
      if (!(error instanceof HungUp)) throw error;
      // It gave up its name at this very moment, or was killed: whoever takes its place is asked, once.
      return this.#ask(order, start);
    });
    if (answer.ok) return answer;
    throw new BerthError(answer.code, answer.message, {
      operation: `${order.order} union`,
      ...("mountPoint" in order ? { object: order.mountPoint } : {}),
    });
  }

  async #ask(order: UnionOrder, start: boolean): Promise<UnionAnswer> {
    const socket = await this.#open(start);
    return await new Promise<UnionAnswer>((resolve, reject) => {
      this.#waiting.push((heard) => (heard instanceof Error ? reject(heard) : resolve(heard)));
      if (this.#waiting.length === 1) this.#listen();
      socket.ref();
      socket.write(`${JSON.stringify(order)}\n`);
    });
  }

  async #open(start: boolean): Promise<Socket> {
    this.#socket ??= this.#connect(start);
    try {
      return await this.#socket;
    } catch (error) {
      this.#socket = undefined;
      throw error;
    }
  }

  async #connect(start: boolean): Promise<Socket> {
    try {
      return await this.#reach();
    } catch (error) {
      if (!start || !isErrno(error, "ENOENT", "ECONNREFUSED")) throw error;
    }
    this.#wasSilent = false;
    let ended = false;
    const [command, ...args] = this.#parts.program;
    const child = spawn(command as string, [...args, this.#parts.socketPath], {
      detached: true,
      stdio: "ignore",
      cwd: "/",
    });
    child.once("error", () => {
      ended = true;
    });
    // One that finds another there before it ends well: the other answers.
    child.once("exit", (status) => {
      ended = status !== 0;
    });
    child.unref();
    const deadline = performance.now() + START_PATIENCE;
    for (;;) {
      try {
        return await this.#reach();
      } catch (error) {
        if (ended || performance.now() > deadline || !isErrno(error, "ENOENT", "ECONNREFUSED")) {
          throw new BerthError("internal", "the program that serves unions does not start", {
            operation: "start berth-union",
            object: this.#parts.socketPath,
            cause: error,
          });
        }
      }
      await sleep(LOOK_AGAIN);
    }
  }

  #reach(): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const { path, close } = shortPath(this.#parts.socketPath);
    const socket = connect({ path });
    close();
    socket.setEncoding("utf8");
    socket.once("error", reject);
    socket.once("connect", () => {
      this.#live = socket;
      resolve(socket.unref());
    });
    socket.on("data", (text: string) => this.#read(text));
    socket.on("close", () => {
      // An attempt that failed is no end of what was reached, nor is one that was given up.
      if (this.#live !== socket) return;
      this.#forget(new HungUp("the program that serves unions has ended"));
      this.#parts.onEnd?.();
    });
    return promise;
  }

  #read(text: string): void {
    const lines = (this.#input + text).split("\n");
    this.#input = lines.pop() as string;
    this.#wasSilent = false;
    for (const line of lines) this.#waiting.shift()?.(JSON.parse(line) as UnionAnswer);
    if (this.#waiting.length > 0) {
      this.#listen();
      return;
    }
    clearTimeout(this.#silence);
    // An idle connection keeps nobody from ending.
    this.#live?.unref();
  }

  /** Gives the program up if it says nothing for too long: it was stopped, or waits for a disk that does not answer. */
  #listen(): void {
    clearTimeout(this.#silence);
    const { patience = PATIENCE } = this.#parts;
    const time = this.#wasSilent ? Math.min(patience, LITTLE_PATIENCE) : patience;
    this.#silence = setTimeout(() => {
      this.#wasSilent = true;
      const socket = this.#live;
      this.#forget(silent(this.#parts.socketPath));
      socket?.destroy();
    }, time);
  }

  /** The connection is over; whoever waits hears why. */
  #forget(reason: Error): void {
    this.#socket = undefined;
    this.#live = undefined;
    this.#input = "";
    clearTimeout(this.#silence);
    for (const wait of this.#waiting.splice(0)) wait(reason);
  }
}

function silent(socketPath: string): BerthError {
  return new BerthError("unavailable", "the program that serves unions, berth-union, does not answer", {
    operation: "serve unions",
    object: socketPath,
    hint:
      "It is stopped, or waits for a disk. `kill -CONT` lets it go on; if it is killed, what it serves ends with errors " +
      "and is mounted anew with the next start.",
  });
}
