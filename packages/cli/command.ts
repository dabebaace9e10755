/** What a command is, and the world it runs in. Commands do not touch `process` themselves except through here. */
import type { Readable, Writable } from "node:stream";
import type { Flag, FlagValues } from "#cli/flags.ts";
import type { Client } from "#client/client.ts";

export interface Command {
  /** After the name in the usage line: "[OPTIONS] CONTAINER [CONTAINER...]". */
  usage: string;
  flags: readonly Flag[];
  /** Fewest and most arguments. */
  takes: readonly [number, number];
  /** Flags end at the first argument: what follows is a container's command line. */
  stopsAtArgument?: boolean;
  /** Returns the exit code. */
  run(flags: FlagValues, context: Context): Promise<number>;
}

export interface Context {
  env: Record<string, string | undefined>;
  cwd: string;
  stdin: Readable & { isTTY?: boolean; fd?: number };
  stdout: Writable & { isTTY?: boolean; rows?: number; columns?: number };
  stderr: Writable & { isTTY?: boolean; columns?: number };
  /** Connects on first use, starting a daemon if that is allowed and none answers. */
  client(): Promise<Client>;
  /** The image archive that came with the program, for machines without a registry; undefined if there is none. */
  busyboxArchive: string | undefined;
  /** The daemon's socket on this host; undefined when it is elsewhere. */
  apiSocket: string | undefined;
  /** Reads a file of the user's, relative to cwd. Throws Error with the text users know ("open x: no such file or directory"). */
  readFile(path: string): string;
}

/** An end with a code and a message of its own, instead of 1 and the error's. */
export class ExitError extends Error {
  readonly exitCode: number;
  /** Said after the message: "Run 'berth run --help' for more information". */
  readonly helpOf: string | undefined;
  constructor(exitCode: number, message: string, helpOf?: string) {
    super(message);
    this.name = "ExitError";
    this.exitCode = exitCode;
    this.helpOf = helpOf;
  }
}

/** What to tell the user of a failure: a daemon's refusal is marked as such. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.name === "DaemonError" ? `Error response from daemon: ${error.message}` : error.message;
  const hint = "hint" in error && typeof error.hint === "string" ? `\n${error.hint}` : "";
  return text + hint;
}

/**
 * Does the same to each of several objects, telling failures as they happen; 1 if there was one.
 * `done` is printed for each that went well.
 */
export async function forEach(
  names: readonly string[],
  context: Context,
  action: (name: string) => Promise<string>,
): Promise<number> {
  let code = 0;
  for (const name of names) {
    try {
      context.stdout.write(`${await action(name)}\n`);
    } catch (error) {
      if (error instanceof Error && error.name === "NoDaemonError") throw error;
      context.stderr.write(`${messageOf(error)}\n`);
      code = 1;
    }
  }
  return code;
}
