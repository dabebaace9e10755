/**
 * What the engine needs of a running launcher: send a program, follow the shim, come back to it later.
 * Implemented by launcher-client.ts over `<exec-root>/launcher.sock` and each shim's control socket.
 */
import type { Socket } from "node:net";
import type { Program } from "#program/types.ts";

/** How the main process ended. */
export interface ExitRecord {
  /** Docker's exit code: the status, or 128 + signal. */
  exitCode: number;
  /** Signal that ended it, if one did. */
  signal: number | undefined;
  /** When, in nanoseconds since the epoch. */
  at: bigint;
}

/** A failed instruction, as reported by the launcher. */
export interface LaunchFailure {
  instruction: number;
  errno: number;
}

/** A shim as the daemon sees it. Every promise settles; none rejects with anything but a BerthError. */
export interface ShimHandle {
  /** Resolves when the control socket listens; attach connections may be made from then on. */
  readonly listening: Promise<void>;
  /** Resolves with the host pid once execve has happened; rejects with LaunchError when a step failed. */
  readonly started: Promise<number>;
  /** Resolves when the main process has ended and its output is in the log; also when the shim vanished (exit 137). */
  readonly exited: Promise<ExitRecord>;
  signal(signal: number): void;
  resize(rows: number, columns: number): void;
  closeStdin(): void;
  /** The shim keeps a copy of this process's descriptor under a number of 200 to 207, for the daemons to come. */
  keep(fd: number, number: number): void;
  /** Every note from now on, those of the protocol (NOTE) and the program's own (kind ≥ 4). */
  onNote(listener: (kind: number, value: bigint) => void): void;
  /** Stop listening to this shim; the shim itself goes on. */
  close(): void;
}

export interface AttachStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/** A shim without a program. */
export interface ReservedShim {
  /** Its control connection, for whoever launches with it. */
  take(): Promise<Socket>;
  /** Does nothing once it has been taken. */
  giveUp(): void;
}

export interface LauncherClient {
  /** Start the zygote if none answers on the socket; idempotent. It is detached and survives the daemon. */
  ensureZygote(): Promise<void>;
  /**
   * Has a shim forked that waits for its program, while that is being made. `launch` takes it over; without one it has one
   * forked itself. What is given up goes away.
   */
  reserve(): ReservedShim;
  launch(program: Program, controlSocket: string, reserved?: ReservedShim): ShimHandle;
  /** Reconnect to a shim after a daemon restart. If it is gone, `exitFile` tells the end (or 137 if there is none). */
  reconnect(controlSocket: string, exitFile: string): Promise<ShimHandle>;
  /** A raw attach connection: Docker-framed (or raw with a terminal) output, raw input, half-close = end of input. */
  attach(controlSocket: string, streams: AttachStreams): Promise<Socket>;
}
