/**
 * One control connection, from the daemon's side: frames become the promises of a ShimHandle.
 *
 * Every promise settles, whatever happens to the shim. Nobody has to wait for all of them: one that fails unobserved
 * is no crash.
 */
import type { Socket } from "node:net";
import { BerthError } from "#errors/errors.ts";
import { errnoName, errnoText } from "#program/errno.ts";
import { exitRecord, vanishedRecord } from "#program/exit-record.ts";
import { type DaemonFrame, encodeFrame, FrameParser, NOTE, type ShimFrame } from "#program/frames.ts";
import { LaunchError } from "#program/launch-error.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import type { Program } from "#program/types.ts";

export interface ShimConnectionOptions {
  /** To explain failures; a reconnection has none. */
  program?: Program;
  /** The first word has to come within so many milliseconds; undefined: whenever it likes. */
  answerWithin?: number;
  /** Asked when the connection is lost while the process runs: another one to the same shim, or undefined. */
  reconnect: () => Promise<Socket | undefined>;
  /** Asked when the shim is gone without an exit frame: a record left behind, or undefined. */
  lastRecord: () => Promise<ExitRecord | undefined>;
}

export class ShimConnection implements ShimHandle {
  readonly listening: Promise<void>;
  readonly started: Promise<number>;
  readonly exited: Promise<ExitRecord>;
  readonly #listening = Promise.withResolvers<void>();
  readonly #started = Promise.withResolvers<number>();
  readonly #exited = Promise.withResolvers<ExitRecord>();
  readonly #options: Omit<ShimConnectionOptions, "program">;
  readonly #noteListeners = new Set<(kind: number, value: bigint) => void>();
  #socket: Socket | undefined;
  #patience: NodeJS.Timeout | undefined;
  #program: Program | undefined;
  /** Launched by this connection, not found again. */
  readonly #launching: boolean;
  #running = false;
  #settled = false;

  constructor(options: ShimConnectionOptions) {
    const { program, ...others } = options;
    this.#options = others;
    this.#program = program;
    this.#launching = program !== undefined;
    this.listening = this.#listening.promise;
    this.started = this.#started.promise;
    this.exited = this.#exited.promise;
    for (const promise of [this.listening, this.started, this.exited]) promise.catch(() => undefined);
    const { answerWithin } = options;
    if (answerWithin !== undefined)
      this.#patience = setTimeout(() => this.#unanswered(answerWithin), answerWithin);
  }

  /** Follow this socket, connecting or connected, from now on. */
  follow(socket: Socket): void {
    const parser = new FrameParser();
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of parser.push(chunk)) this.#take(frame);
      } catch (error) {
        if (!this.#running) this.#fail(error);
        socket.destroy();
      }
    });
    // What went wrong shows in "close", which always follows.
    socket.on("error", () => undefined);
    socket.on("end", () => socket.destroy());
    socket.on("close", () => void this.#lost(socket));
  }

  /** It ended, as learned otherwise than over the connection. */
  end(record: ExitRecord): void {
    this.#end(record);
  }

  /** There is nothing to follow. */
  fail(error: BerthError): void {
    this.#fail(error);
  }

  signal(signal: number): void {
    this.#tell({ kind: "signal", signal });
  }

  resize(rows: number, columns: number): void {
    this.#tell({ kind: "resize", rows, columns });
  }

  closeStdin(): void {
    this.#tell({ kind: "close-stdin" });
  }

  keep(fd: number, number: number): void {
    this.#tell({ kind: "keep", fd, number });
  }

  onNote(listener: (kind: number, value: bigint) => void): void {
    this.#noteListeners.add(listener);
  }

  close(): void {
    if (!this.#settled) {
      this.#fail(
        new BerthError("unavailable", "nobody follows this shim any more", { operation: "follow shim" }),
      );
    }
    this.#socket?.destroy();
  }

  #tell(frame: DaemonFrame): void {
    // To a shim that has ended there is nothing to say; the end itself is told by `exited`.
    if (this.#socket?.writable) this.#socket.write(encodeFrame(frame));
  }

  #unanswered(milliseconds: number): void {
    const launching = this.#launching;
    const who = launching ? "launcher" : "shim";
    const error = new BerthError("unavailable", `the ${who} has not answered for ${milliseconds / 1000} s`, {
      operation: launching ? "start process" : "follow shim",
      ...(launching && {
        hint: "If the process berth-zygote is stopped or stuck, kill it: the next start begins another.",
      }),
    });
    if (launching) {
      // Whose client hangs up before the program runs never runs it: the shim looks (launcher/shim.c).
      this.#fail(error);
      this.#socket?.destroy();
    } else {
      // It may go on one day, and tell of its process' end.
      this.#listening.reject(error);
      this.#started.reject(error);
    }
  }

  #take(frame: ShimFrame): void {
    clearTimeout(this.#patience);
    switch (frame.kind) {
      case "refused":
        this.#fail(
          new BerthError(
            "internal",
            `the launcher refused the program at byte ${frame.offset}: ${errnoName(frame.errno)} (${errnoText(frame.errno)})`,
            { operation: "start process" },
          ),
        );
        break;
      case "failed":
        this.#failed(frame.instruction, frame.errno);
        break;
      case "note":
        this.#note(frame.note, frame.value);
        break;
      case "exit":
        this.#end(exitRecord(frame.status, frame.at));
        break;
    }
  }

  #note(kind: number, value: bigint): void {
    if (kind === NOTE.LISTENING) this.#listening.resolve();
    if (kind === NOTE.STARTED) {
      this.#running = true;
      // Tens of kilobytes, for each container there is; nothing is to be explained any more.
      this.#program = undefined;
      this.#listening.resolve();
      this.#started.resolve(Number(value));
    }
    for (const listener of this.#noteListeners) listener(kind, value);
  }

  #failed(instruction: number, errno: number): void {
    const program = this.#program;
    if (this.#running) {
      // A shim that fails after the start leaves a process behind that nobody follows.
      this.#end(vanishedRecord());
    } else if (program === undefined) {
      const what = `instruction ${instruction}: ${errnoName(errno)} (${errnoText(errno)})`;
      this.#fail(new BerthError("start-failed", what, { operation: "start process" }));
    } else {
      this.#fail(new LaunchError(program, instruction, errno));
    }
  }

  /** It ended: what has not been said by now will not be. */
  #end(record: ExitRecord): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#patience);
    // One that has started has told both, and an error is dear.
    if (!this.#running) {
      const gone = new BerthError("unavailable", "the shim has ended", { operation: "follow shim" });
      this.#listening.reject(gone);
      this.#started.reject(gone);
    }
    this.#exited.resolve(record);
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#patience);
    this.#listening.reject(error);
    this.#started.reject(error);
    this.#exited.reject(error);
  }

  async #lost(socket: Socket): Promise<void> {
    if (this.#settled || this.#socket !== socket) return;
    const again = this.#running ? await this.#options.reconnect() : undefined;
    if (again !== undefined) {
      this.follow(again);
      return;
    }
    const record = await this.#options.lastRecord();
    // One that was found again while it started, and failed, has told that to who launched it alone.
    const over = this.#running || !this.#launching;
    if (record !== undefined) this.#end(record);
    else if (over) this.#end(vanishedRecord());
    else
      this.#fail(new BerthError("internal", "the shim ended without a word", { operation: "start process" }));
  }
}
