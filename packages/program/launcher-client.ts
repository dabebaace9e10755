/**
 * The daemon's way to the launcher: programs go over `<exec-root>/launcher.sock`, one connection each, which then is
 * the shim's first control connection; later connections go to the shim's own socket.
 *
 * A launch is one connect and one write; the zygote is looked after only when the connect fails.
 */
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readExitRecord, vanishedRecord } from "#program/exit-record.ts";
import { attachHello, controlHello } from "#program/frames.ts";
import type {
  AttachStreams,
  LauncherClient,
  ReservedShim,
  ShimHandle,
} from "#program/launcher-client.types.ts";
import { ShimConnection } from "#program/shim-connection.ts";
import { throughShortage } from "#program/shortage.ts";
import type { Program } from "#program/types.ts";
import { connectUnix } from "#program/unix-connect.ts";
import { startZygote } from "#program/zygote.ts";

/** A launcher that has said nothing for so long never will, ms; on the busiest machine it takes a hundredth. */
const ANSWER_MS = 30_000;

/** A shim that is found again says at once that its process has started, ms: a daemon's start waits for it. */
const REUNION_MS = 5_000;

/** Nobody listens there: no such name, a name that was left behind, or no directory. */
const ABSENT = new Set(["ENOENT", "ECONNREFUSED", "ENOTDIR"]);

/** `launcherPath` is the launcher's binary, `socketPath` where the zygote listens or shall listen. */
export function createLauncherClient(options: {
  launcherPath: string;
  socketPath: string;
  /** How long a launcher may be silent, milliseconds. */
  answerWithin?: number;
}): LauncherClient {
  return new Client(options.launcherPath, options.socketPath, options.answerWithin ?? ANSWER_MS);
}

class Client implements LauncherClient {
  readonly #launcherPath: string;
  readonly #socketPath: string;
  readonly #answerWithin: number;
  /** While a zygote is being started, everybody waits for the same one. */
  #starting: Promise<void> | undefined;

  constructor(launcherPath: string, socketPath: string, answerWithin: number) {
    this.#answerWithin = answerWithin;
    this.#launcherPath = launcherPath;
    this.#socketPath = socketPath;
  }

  ensureZygote(): Promise<void> {
    // The launcher itself looks whether one answers, under a lock, so there is nothing to look at before.
    this.#starting ??= startZygote(this.#launcherPath, this.#socketPath).finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  reserve(): ReservedShim {
    const connection = this.#connectZygote();
    // Whoever launches with it is told.
    connection.catch(() => undefined);
    return new Reserved(connection);
  }

  launch(program: Program, controlSocket: string, reserved = this.reserve()): ShimHandle {
    const shim = new ShimConnection({
      program,
      answerWithin: this.#answerWithin,
      reconnect: () => connectControl(controlSocket).catch(() => undefined),
      lastRecord: () => readExitRecord(join(dirname(controlSocket), "exit")),
    });
    void this.#send(program, shim, reserved);
    return shim;
  }

  async reconnect(controlSocket: string, exitFile: string): Promise<ShimHandle> {
    const shim = new ShimConnection({
      answerWithin: Math.min(REUNION_MS, this.#answerWithin),
      reconnect: () => connectControl(controlSocket).catch(() => undefined),
      lastRecord: () => readExitRecord(exitFile),
    });
    try {
      shim.follow(await connectControl(controlSocket));
    } catch (error) {
      if (!isAbsent(error)) throw unreachable(controlSocket, error);
      shim.end((await readExitRecord(exitFile)) ?? vanishedRecord());
    }
    return shim;
  }

  async attach(controlSocket: string, streams: AttachStreams): Promise<Socket> {
    try {
      // The shim keeps all output until everybody is connected who said so: this must not fail for want of a descriptor.
      const socket = await throughShortage(() => connectedTo(controlSocket));
      socket.write(attachHello(streams));
      return socket;
    } catch (error) {
      throw unreachable(controlSocket, error);
    }
  }

  async #send(program: Program, shim: ShimConnection, reserved: ReservedShim): Promise<void> {
    try {
      const waiting = await reserved.take();
      // It may have been killed before there was anything to tell it.
      const socket = waiting.destroyed ? await this.#connectZygote() : waiting;
      shim.follow(socket);
      socket.write(program.bytes);
    } catch (error) {
      shim.fail(error instanceof BerthError ? error : unreachable(this.#socketPath, error));
    }
  }

  async #connectZygote(): Promise<Socket> {
    try {
      return await connected(connectUnix(this.#socketPath));
    } catch (error) {
      // It was killed; the containers it started do not need it, the next one does.
      if (!isAbsent(error)) throw error;
      await this.ensureZygote();
      return await connected(connectUnix(this.#socketPath));
    }
  }
}

class Reserved implements ReservedShim {
  readonly #connection: Promise<Socket>;
  #taken = false;

  constructor(connection: Promise<Socket>) {
    this.#connection = connection;
  }

  take(): Promise<Socket> {
    this.#taken = true;
    return this.#connection;
  }

  giveUp(): void {
    if (this.#taken) return;
    this.#connection.then(
      (socket) => socket.destroy(),
      () => undefined,
    );
  }
}

/** A shim that cannot be reached is taken for one that has ended: a shortage is no reason for that. */
async function connectControl(path: string): Promise<Socket> {
  const socket = await throughShortage(() => connectedTo(path));
  socket.write(controlHello());
  return socket;
}

async function connectedTo(path: string): Promise<Socket> {
  return await connected(connectUnix(path));
}

function connected(socket: Socket): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // Stays: an error before the caller listens for it must not bring the daemon down; "close" follows anyway.
    socket.on("error", reject);
    socket.once("connect", () => resolve(socket));
  });
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && ABSENT.has(String(error.code));
}

/** Did `attach` or another order find nobody at the socket? */
export function foundNobody(error: unknown): boolean {
  return error instanceof BerthError && isAbsent(error.cause);
}

function unreachable(path: string, cause: unknown): BerthError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BerthError("unavailable", `no connection to the launcher: ${reason}`, {
    operation: "connect",
    object: path,
    cause,
  });
}
