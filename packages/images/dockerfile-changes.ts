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

/** All that variables of one request become; beyond it somebody doubles one again and again. */
const EXPANDED_LIMIT = 4 << 20;
/** Every port of every protocol once. */
const PORTS_LIMIT = 3 * 65_535;
/** What the kernel takes for a path. */
const PATH_LIMIT = 4095;

/** What instructions add to, as maps until the end: of thousands of lines, each would copy what those before it made. */
interface Draft {
  /** "NAME=value" by name. */
  env: Map<string, string>;
  envChanged: boolean;
  labels: Map<string, string>;
  ports: Map<string, Record<string, never>>;
  /** How many ports were named, also those that were there. */
  portCount: number;
  volumes: Map<string, Record<string, never>>;
}

type Instruction = (argument: string, config: ImageContainerConfig, draft: Draft) => void;

const instructions: Record<string, Instruction> = {
  CMD: (argument, config) => {
    config.Cmd = command(argument);
  },
  ENTRYPOINT: (argument, config) => {
    config.Entrypoint = command(argument);
  },
  ENV: (argument, _, draft) => {
    for (const [name, value] of pairs(argument, "ENV")) draft.env.set(name, `${name}=${value}`);
    draft.envChanged = true;
  },
  EXPOSE: (argument, _, draft) => {
    for (const word of words(argument)) {
      const named = ports(word);
      draft.portCount += named.length;
      if (draft.portCount > PORTS_LIMIT) throw invalid("EXPOSE names more ports than there are");
      for (const port of named) draft.ports.set(port, {});
    }
  },
  HEALTHCHECK: (argument, config) => {
    config.Healthcheck = healthcheck(argument);
  },
  LABEL: (argument, _, { labels }) => {
    for (const [name, value] of pairs(argument, "LABEL")) labels.set(name, value);
  },
  ONBUILD: (argument, config) => {
    const trigger = (argument.split(/\s/, 1)[0] ?? "").toUpperCase();
    if (trigger === "ONBUILD") throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (trigger === "MAINTAINER" || trigger === "FROM")
      throw invalid(`${trigger} isn't allowed as an ONBUILD trigger`);
    config.OnBuild ??= [];
    config.OnBuild.push(argument);
  },
  STOPSIGNAL: (argument, config) => {
    if (!/^(?:\d+|(?:SIG)?[A-Z0-9+-]+)$/i.test(argument)) throw invalid(`Invalid signal: ${argument}`);
    config.StopSignal = argument;
  },
  USER: (argument, config) => {
    config.User = single(argument, "USER");
  },
  VOLUME: (argument, _, { volumes }) => {
    for (const path of jsonList(argument) ?? words(argument)) {
      if (path.trim() === "") throw invalid("VOLUME specified can not be an empty string");
      volumes.set(path, {});
    }
  },
  WORKDIR: (argument, config) => {
    const path = posix.resolve("/", config.WorkingDir ?? "/", single(argument, "WORKDIR"));
    if (path.length > PATH_LIMIT) throw invalid("WORKDIR is longer than a path can be");
    config.WorkingDir = path;
  },
};

/** Applies the instructions in order to a copy. Throws BerthError "invalid" in Docker's words. */
export function applyChanges(config: ImageContainerConfig, changes: readonly string[]): ImageContainerConfig {
  const changed = structuredClone(config);
  const draft = draftOf(changed);
  const lookup = (name: string) => draft.env.get(name)?.slice(name.length + 1);
  let room = EXPANDED_LIMIT;
  let commandGiven = false;
  for (const line of changes.flatMap((change) => change.split("\n")).map((text) => text.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name = "", argument = ""] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? [];
    const instruction = Object.hasOwn(instructions, name.toUpperCase())
      ? instructions[name.toUpperCase()]
      : undefined;
    if (instruction === undefined) throw invalid(`${name.toLowerCase()} is not a valid change command`);
    if (argument === "") throw invalid(`${name.toUpperCase()} requires at least one argument`);
    if (expandable.has(name.toUpperCase())) {
      const expanded = expandVariables(argument, lookup, room);
      room -= expanded.length;
      instruction(expanded, changed, draft);
    } else {
      instruction(argument, changed, draft);
    }
    if (name.toUpperCase() === "CMD") commandGiven = true;
    // A new entrypoint makes the command that was there before meaningless.
    else if (name.toUpperCase() === "ENTRYPOINT" && !commandGiven) delete changed.Cmd;
  }
  finish(changed, draft);
  return changed;
}

function draftOf(config: ImageContainerConfig): Draft {
  return {
    env: new Map((config.Env ?? []).map((entry) => [entry.split("=", 1)[0] ?? "", entry])),
    envChanged: false,
    labels: new Map(Object.entries(config.Labels ?? {})),
    ports: new Map(Object.entries(config.ExposedPorts ?? {})),
    portCount: 0,
    volumes: new Map(Object.entries(config.Volumes ?? {})),
  };
}

/** Puts into the configuration what was added. fromEntries makes own properties even of "__proto__". */
function finish(config: ImageContainerConfig, { env, envChanged, labels, ports, volumes }: Draft): void {
  if (envChanged) config.Env = [...env.values()];
  if (labels.size > 0) config.Labels = Object.fromEntries(labels);
  if (ports.size > 0) config.ExposedPorts = Object.fromEntries(ports);
  if (volumes.size > 0) config.Volumes = Object.fromEntries(volumes);
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
