/** The daemon's command line, in the grammar of docker's: --flag value, --flag=value, -H value, -Hvalue, --flag=false. */

import { DAEMON_OPTIONS, type DaemonOption, keyOf } from "#config/daemon-options.ts";
import { BerthError } from "#errors/errors.ts";
import { parseBoolean as goBoolean } from "#go-values/boolean.ts";

/** Raw values by key of daemon.json; lists and maps collect what was repeated. */
export type RawConfig = Record<string, unknown>;

export type ParsedFlags = { values: RawConfig } | { help: true } | { version: true };

/** Throws "invalid" naming the flag. */
export function parseFlags(argv: readonly string[]): ParsedFlags {
  const values: RawConfig = {};
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--help" || argument === "-h") return { help: true };
    if (argument === "--version" || argument === "-v") return { version: true };
    const { option, value } = split(argument);
    put(values, option, argument, value ?? (option.kind === "boolean" ? "true" : rest.shift()));
  }
  return { values };
}

function split(argument: string): { option: DaemonOption; value: string | undefined } {
  const [, name = "", , value] = /^--([^=]+)(=([\s\S]*))?$/.exec(argument) ?? [];
  const [, letter = "", attached = ""] = /^-([a-zA-Z])=?([\s\S]*)$/.exec(argument) ?? [];
  const option = DAEMON_OPTIONS.find((known) =>
    name ? known.flag === name : letter !== "" && known.short === letter,
  );
  if (option === undefined) {
    throw new BerthError("invalid", `unknown ${name ? "flag" : "argument"}: ${argument}`, {
      operation: "parse flags",
      object: argument,
      hint: "berthd --help lists the flags",
    });
  }
  if (name) return { option, value };
  return { option, value: attached === "" ? undefined : attached };
}

function put(values: RawConfig, option: DaemonOption, argument: string, value: string | undefined): void {
  if (value === undefined) throw refused(option, argument, "flag needs an argument");
  const key = keyOf(option);
  switch (option.kind) {
    case "boolean":
      values[key] = parseBoolean(option, value);
      break;
    case "number":
      if (!/^-?\d+$/.test(value)) throw refused(option, argument, `${JSON.stringify(value)} is not a number`);
      values[key] = Number(value);
      break;
    case "string":
      values[key] = value;
      break;
    case "list":
    case "object":
      values[key] = [...((values[key] as string[] | undefined) ?? []), value];
      break;
    case "map": {
      const at = value.indexOf("=");
      if (at < 0) throw refused(option, argument, "write it as key=value");
      values[key] = {
        ...(values[key] as Record<string, string> | undefined),
        [value.slice(0, at)]: value.slice(at + 1),
      };
    }
  }
}

function parseBoolean(option: DaemonOption, value: string): boolean {
  const parsed = goBoolean(value);
  if (parsed !== undefined) return parsed;
  throw refused(option, `--${option.flag}=${value}`, "write true or false");
}

function refused(option: DaemonOption, argument: string, why: string): BerthError {
  return new BerthError(
    "invalid",
    `invalid argument ${JSON.stringify(argument)} for "--${option.flag}": ${why}`,
    {
      operation: "parse flags",
      object: `--${option.flag}`,
    },
  );
}

/** The text of `berthd --help`. */
export function helpText(): string {
  const lines = DAEMON_OPTIONS.filter(({ inert }) => !inert).map(({ flag, short, kind, help }) => {
    const names = `${short === undefined ? "    " : `-${short}, `}--${flag}${kind === "boolean" ? "" : ` ${kind}`}`;
    return `  ${names.padEnd(36)} ${help}`;
  });
  return `Usage: berthd [OPTIONS]\n\nThe daemon of Berth.\n\nOptions:\n${lines.join("\n")}\n`;
}
