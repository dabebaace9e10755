/**
 * `--change` of docker import and commit: a few Dockerfile instructions applied to an image's configuration.
 *
 * Allowed are those that only describe: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER,
 * VOLUME, WORKDIR. Pure; never runs anything.
 */

import { posix } from "node:path";
import type { ImageContainerConfig } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { durationOf } from "#go-values/duration.ts";
import { expandVariables } from "./expand-variables.ts";

/** Instructions in whose words variables stand for the environment's values. */
const expandable = new Set(["ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"]);

type Instruction = (argument: string, config: ImageContainerConfig) => void;

const instructions: Record<string, Instruction> = {
  CMD: (argument, config) => {
    config.Cmd = command(argument);
  },
  ENTRYPOINT: (argument, config) => {
    config.Entrypoint = command(argument);
  },
  ENV: (argument, config) => {
    const env = new Map((config.Env ?? []).map((entry) => [entry.split("=", 1)[0] ?? "", entry]));
    for (const [name, value] of pairs(argument, "ENV")) env.set(name, `${name}=${value}`);
    config.Env = [...env.values()];
  },
  EXPOSE: (argument, config) => {
    for (const word of words(argument))
      for (const port of ports(word)) config.ExposedPorts = { ...config.ExposedPorts, [port]: {} };
  },
  HEALTHCHECK: (argument, config) => {
    config.Healthcheck = healthcheck(argument);
  },
  LABEL: (argument, config) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(argument, "LABEL")) };
  },
  ONBUILD: (argument, config) => {
    const trigger = (argument.split(/\s/, 1)[0] ?? "").toUpperCase();
    if (trigger === "ONBUILD") throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (trigger === "MAINTAINER" || trigger === "FROM")
      throw invalid(`${trigger} isn't allowed as an ONBUILD trigger`);
    config.OnBuild = [...(config.OnBuild ?? []), argument];
  },
  STOPSIGNAL: (argument, config) => {
    if (!/^(?:\d+|(?:SIG)?[A-Z0-9+-]+)$/i.test(argument)) throw invalid(`Invalid signal: ${argument}`);
    config.StopSignal = argument;
  },
  USER: (argument, config) => {
    config.User = single(argument, "USER");
  },
  VOLUME: (argument, config) => {
    for (const path of jsonList(argument) ?? words(argument)) {
      if (path.trim() === "") throw invalid("VOLUME specified can not be an empty string");
      config.Volumes = { ...config.Volumes, [path]: {} };
    }
  },
  WORKDIR: (argument, config) => {
    config.WorkingDir = posix.resolve("/", config.WorkingDir ?? "/", single(argument, "WORKDIR"));
  },
};

/** Applies the instructions in order to a copy. Throws BerthError "invalid" in Docker's words. */
export function applyChanges(config: ImageContainerConfig, changes: readonly string[]): ImageContainerConfig {
  const changed = structuredClone(config);
  let commandGiven = false;
  for (const line of changes.flatMap((change) => change.split("\n")).map((text) => text.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name = "", argument = ""] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? [];
    const instruction = Object.hasOwn(instructions, name.toUpperCase())
      ? instructions[name.toUpperCase()]
      : undefined;
    if (instruction === undefined) throw invalid(`${name.toLowerCase()} is not a valid change command`);
    if (argument === "") throw invalid(`${name.toUpperCase()} requires at least one argument`);
    const expanded = expandable.has(name.toUpperCase())
      ? expandVariables(argument, changed.Env ?? [])
      : argument;
    instruction(expanded, changed);
    if (name.toUpperCase() === "CMD") commandGiven = true;
    // A new entrypoint makes the command that was there before meaningless.
    else if (name.toUpperCase() === "ENTRYPOINT" && !commandGiven) delete changed.Cmd;
  }
  return changed;
}

/** JSON form as it is, shell form through the shell. */
function command(argument: string): string[] {
  return jsonList(argument) ?? ["/bin/sh", "-c", argument];
}

/** The exec form, or undefined where it is not a JSON list of texts: then it is the shell form. */
function jsonList(argument: string): string[] | undefined {
  if (!argument.startsWith("[")) return undefined;
  try {
    const parsed: unknown = JSON.parse(argument);
    return Array.isArray(parsed) && parsed.every((item) => typeof item === "string") ? parsed : undefined;
  } catch {
    return undefined; // as Docker: what is no JSON is a shell command
  }
}

function single(argument: string, name: string): string {
  const all = words(argument);
  if (all.length !== 1) throw invalid(`${name} requires exactly one argument`);
  return all[0] ?? "";
}

/** Splits at white space; quotes hold words together and vanish, a backslash takes the next character as it is. */
function words(argument: string): string[] {
  const found: string[] = [];
  const pattern = /\s*((?:"(?:[^"\\]|\\[\s\S])*"|'[^']*'|\\[\s\S]|[^\s"'\\])+)/y;
  let end = 0;
  for (let match = pattern.exec(argument); match !== null; match = pattern.exec(argument)) {
    end = pattern.lastIndex;
    found.push(unquote(match[1] ?? ""));
  }
  if (argument.slice(end).trim() !== "")
    throw invalid(`unexpected end of statement while looking for matching quote: ${argument}`);
  return found;
}

function unquote(word: string): string {
  return word.replace(/"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|\\([\s\S])/g, (_, double, single_, escaped) => {
    if (double !== undefined) return (double as string).replace(/\\(["\\$])/g, "$1");
    return (single_ as string | undefined) ?? (escaped as string);
  });
}

/** `a=b c="d e"`, or the old form `a rest of line`. */
function pairs(argument: string, name: string): [string, string][] {
  const first = /^[^\s=]+/.exec(argument)?.[0] ?? "";
  if (!argument.slice(first.length).startsWith("=")) {
    const value = argument.slice(first.length).trim();
    if (value === "") throw invalid(`${name} must have two arguments`);
    return [[unquote(first), unquote(value)]];
  }
  return words(argument).map((word) => {
    const equals = word.indexOf("=");
    if (equals === -1)
      throw invalid(
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      );
    if (equals === 0) throw invalid(`${name} names can not be blank`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

/** "80", "80/udp", "8000-8010/tcp" → "80/tcp", … */
function ports(word: string): string[] {
  const [, from = "", to = from, protocol = "tcp"] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word) ?? [];
  const low = Number(from);
  const high = Number(to);
  if (from === "" || low > high || high > 65535) throw invalid(`Invalid containerPort: ${word}`);
  return Array.from({ length: high - low + 1 }, (_, index) => `${low + index}/${protocol.toLowerCase()}`);
}

function healthcheck(argument: string): NonNullable<ImageContainerConfig["Healthcheck"]> {
  const check: NonNullable<ImageContainerConfig["Healthcheck"]> = {};
  let rest = argument;
  for (
    let flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest);
    flag !== null;
    flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest)
  ) {
    const [whole, name = "", value = ""] = flag;
    rest = rest.slice(whole.length);
    setHealthFlag(check, name, value);
  }
  const [, kind = "", body = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
  if (kind.toUpperCase() === "NONE") {
    if (body !== "") throw invalid("HEALTHCHECK NONE takes no arguments");
    return { Test: ["NONE"] };
  }
  if (kind.toUpperCase() !== "CMD")
    throw invalid(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`);
  if (body === "") throw invalid("Missing command after HEALTHCHECK CMD");
  const list = jsonList(body);
  return { ...check, Test: list === undefined ? ["CMD-SHELL", body] : ["CMD", ...list] };
}

function setHealthFlag(
  check: NonNullable<ImageContainerConfig["Healthcheck"]>,
  name: string,
  value: string,
): void {
  if (name === "retries") {
    if (!/^\d{1,9}$/.test(value)) throw invalid(`--retries must be a number, not ${value}`);
    check.Retries = Number(value);
    return;
  }
  const fields = {
    interval: "Interval",
    timeout: "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
  } as const;
  const field = Object.hasOwn(fields, name) ? fields[name as keyof typeof fields] : undefined;
  if (field === undefined) throw invalid(`Unknown flag: ${name}`);
  const nanoseconds = durationOf(value);
  if (nanoseconds === undefined) throw invalid(`invalid duration ${JSON.stringify(value)} of --${name}`);
  check[field] = nanoseconds;
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "apply change" });
}
