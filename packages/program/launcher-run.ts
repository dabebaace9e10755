/**
 * A launcher for one program, without a zygote: started with the caller's own stdin, stdout and stderr, and told and
 * heard over a socket that it inherits. What it starts belongs to this process' subreaper once it has left.
 */
import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { BerthError } from "#errors/errors.ts";
import { readExitRecord } from "#program/exit-record.ts";
import { ShimConnection } from "#program/shim-connection.ts";
import type { Program } from "#program/types.ts";

/** The first descriptor behind stdin, stdout and stderr. */
const FIRST = 3;

export interface LauncherRun {
  readonly shim: ShimConnection;
  /** Lets the program go on where it waits for this side (a barrier on its connection). */
  proceed(): void;
  /** Resolves when the launcher's process has ended. */
  readonly ended: Promise<void>;
}

export interface LauncherRunOptions {
  launcherPath: string;
  program: Program;
  /** Descriptors from 3 on that are handed down under the same numbers. */
  preserveFds: number;
  /** Where a relay leaves its record. */
  exitFile: string;
}

/** Starts it. What goes wrong shows in the promises of `shim`. */
export function runLauncher(options: LauncherRunOptions): LauncherRun {
  const { launcherPath, program, preserveFds, exitFile } = options;
  const kept = Array.from({ length: preserveFds }, (_, index) => FIRST + index);
  const own = FIRST + preserveFds;
  const child = spawn(launcherPath, ["run", String(own)], {
    stdio: ["inherit", "inherit", "inherit", ...kept, "pipe"],
    env: {},
  });
  const shim = new ShimConnection({
    program,
    reconnect: () => Promise.resolve(undefined),
    lastRecord: () => readExitRecord(exitFile),
  });
  const ended = new Promise<void>((resolve) => {
    child.on("exit", () => resolve());
    child.on("error", (cause) => {
      shim.fail(
        new BerthError("unavailable", `the launcher does not start: ${cause.message}`, {
          operation: "start launcher",
          object: launcherPath,
          cause,
        }),
      );
      resolve();
    });
  });
  const socket = child.stdio?.[own] as Socket | null | undefined;
  if (!socket) return { shim, proceed: () => undefined, ended };
  shim.follow(socket);
  socket.write(program.bytes);
  return { shim, proceed: () => void socket.write("g"), ended };
}
