/** What a verb of the command line is: its options, a line of help, and what it does. */
import type { StateDirectory } from "#oci/state-directory.ts";
import type { Arguments, OptionTable } from "./arguments.ts";

export interface Context {
  states: StateDirectory;
  systemdCgroup: boolean;
}

export interface Command {
  /** "kill ID [SIGNAL]" */
  usage: string;
  summary: string;
  options: OptionTable;
  /** The exit code for a process that could not be started, if not 1. */
  failureCode?: number;
  /** Answers the exit code. */
  run(context: Context, args: Arguments): Promise<number> | number;
}
