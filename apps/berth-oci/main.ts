/** The OCI runtime's command line: runc's verbs and options. Composition only; what a verb does is in packages/oci. */
import { BerthError } from "#errors/errors.ts";
import { inUserNamespace } from "#kernel/host-facts.ts";
import { StateDirectory } from "#oci/state-directory.ts";
import { onWarning } from "#oci/warnings.ts";
import { SPEC_VERSION } from "#runtime/spec-version.ts";
import { type Arguments, readArguments, UsageError, usage } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkpoint, restore } from "./commands/checkpoint.ts";
import { create } from "./commands/create.ts";
import { remove } from "./commands/delete.ts";
import { events } from "./commands/events.ts";
import { exec } from "./commands/exec.ts";
import { features } from "./commands/features.ts";
import { kill } from "./commands/kill.ts";
import { list } from "./commands/list.ts";
import { pause, resume } from "./commands/pause.ts";
import { ps } from "./commands/ps.ts";
import { run } from "./commands/run.ts";
import { spec } from "./commands/spec.ts";
import { start } from "./commands/start.ts";
import { state } from "./commands/state.ts";
import { update } from "./commands/update.ts";
import { Log, type LogFormat } from "./log.ts";

const VERSION = "0.1.0";

const commands: Record<string, Command> = {
  checkpoint,
  create,
  delete: remove,
  events,
  exec,
  features,
  kill,
  list,
  pause,
  ps,
  restore,
  resume,
  run,
  spec,
  start,
  state,
  update,
};

const GLOBAL_OPTIONS = {
  debug: "flag",
  log: "value",
  "log-format": "value",
  root: "value",
  rootless: "value",
  "systemd-cgroup": "flag",
  "help h": "flag",
  "version v": "flag",
} as const;

function help(): string {
  const lines = Object.values(commands).map(({ usage: form, summary }) => `  ${form.padEnd(34)} ${summary}`);
  return `Usage: berth-oci [global options] command [command options] [arguments...]

Runs containers from OCI bundles.

Commands:
${lines.join("\n")}

Global options:
  --root DIR            where the state of containers is kept (default ${defaultRoot()})
  --log FILE            append errors and warnings to this file as well
  --log-format FORMAT   text (default) or json
  --debug               tell more
  --systemd-cgroup      let systemd make the control groups
  --rootless MODE       true, false or auto (default)
  --help, -h            show this help
  --version, -v         show the version
`;
}

/**
 * A user's own containers are nobody else's business; he is still himself where an engine has made him root of a user
 * namespace.
 */
function defaultRoot(): string {
  const { XDG_RUNTIME_DIR, USER } = process.env;
  const own = process.geteuid?.() !== 0 || (USER !== "root" && inUserNamespace());
  return own && XDG_RUNTIME_DIR ? `${XDG_RUNTIME_DIR}/berth-oci` : "/run/berth-oci";
}

function logFrom(args: Arguments): Log {
  const format = args.value("log-format") ?? "text";
  if (format !== "text" && format !== "json") throw usage(`invalid log-format: ${format}`);
  const file = args.value("log");
  return new Log({ format: format satisfies LogFormat, file: file || undefined, debug: args.flag("debug") });
}

async function main(args: Arguments, log: Log): Promise<number> {
  if (args.flag("version")) {
    process.stdout.write(`berth-oci version ${VERSION}\nspec: ${SPEC_VERSION}\n`);
    return 0;
  }
  const [verb, ...rest] = args.rest;
  if (args.flag("help") || verb === undefined || verb === "help") {
    process.stdout.write(help());
    return 0;
  }
  const command = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
  if (command === undefined) throw usage(`no such command: ${verb}`);
  onWarning((message) => log.write("warning", message));
  const own = readArguments(rest, { ...command.options, "help h": "flag" });
  if (own.flag("help")) {
    process.stdout.write(`Usage: berth-oci ${command.usage}\n\n${command.summary}\n`);
    return 0;
  }
  const context = {
    states: new StateDirectory(args.value("root") || defaultRoot()),
    systemdCgroup: args.flag("systemd-cgroup"),
  };
  try {
    return await command.run(context, own);
  } catch (error) {
    // An exit code that only exec has says that it's not the process' own, whatever the reason.
    if (!(error instanceof BerthError) || error instanceof UsageError) throw error;
    if (error.code === "start-failed" || command.failureCode !== undefined) {
      throw new CommandFailure(`${verb} failed`, command.failureCode ?? 1, error);
    }
    throw error;
  }
}

/** A container or process that could not be started: said by whom, with the verb's own exit code. */
class CommandFailure extends BerthError {
  readonly exitCode: number;

  constructor(what: string, exitCode: number, cause: BerthError) {
    const { operation, hint } = cause;
    super(cause.code, `berth-oci ${what}: ${cause.message}`, { operation, cause, ...(hint && { hint }) });
    this.exitCode = exitCode;
  }
}

function tell(log: Log, error: unknown): void {
  if (error instanceof BerthError) {
    log.write("error", error.hint === undefined ? error.message : `${error.message} (${error.hint})`);
  } else log.write("error", error instanceof Error ? (error.stack ?? error.message) : String(error));
}

async function boot(): Promise<void> {
  let log = new Log({ format: "text", file: undefined, debug: false });
  try {
    const args = readArguments(process.argv.slice(2), GLOBAL_OPTIONS);
    log = logFrom(args);
    process.exitCode = await main(args, log);
  } catch (error) {
    tell(log, error);
    process.exitCode = error instanceof CommandFailure ? error.exitCode : 1;
  }
}

void boot();
