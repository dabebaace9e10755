import { readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { execInContainer } from "#oci/exec.ts";
import type { StoredContainer } from "#oci/state-directory.ts";
import { parseSpecJson } from "#runtime/spec-json.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";
import { type Arguments, usage } from "../arguments.ts";
import type { Command } from "../command.ts";

export const exec: Command = {
  usage: "exec ID COMMAND [ARGUMENT...]",
  summary: "run a further process in a running container",
  options: {
    "console-socket": "value",
    cwd: "value",
    "env e": "list",
    "tty t": "flag",
    "user u": "value",
    "additional-gids g": "list",
    "process p": "value",
    "detach d": "flag",
    "pid-file": "value",
    "process-label": "value",
    apparmor: "value",
    "no-new-privs": "flag",
    "cap c": "list",
    "preserve-fds": "number",
    cgroup: "list",
    "ignore-paused": "flag",
  },
  failureCode: 255,
  async run({ states }, args) {
    const [id, ...command] = args.rest;
    if (id === undefined) throw usage("exec: container id is missing");
    const container = states.load(id);
    const file = args.value("process");
    if (file === undefined && command.length === 0) throw usage("exec: process args cannot be empty");
    const process_ = file === undefined ? processFrom(container, args, command) : readProcess(file);
    const consoleSocket = args.value("console-socket");
    const pidFile = args.value("pid-file");
    return await execInContainer(states, container, {
      process: process_,
      ...(consoleSocket && { consoleSocket }),
      ...(pidFile && { pidFile }),
      preserveFds: args.number("preserve-fds") ?? 0,
      foreground: !args.flag("detach"),
      ignorePaused: args.flag("ignore-paused"),
      cgroups: args.list("cgroup"),
    });
  },
};

function readProcess(path: string): SpecProcess {
  try {
    return parseSpecJson(readFileSync(path, "utf8")) as SpecProcess;
  } catch (cause) {
    throw new BerthError("invalid", `--process ${path}: ${cause instanceof Error ? cause.message : cause}`, {
      operation: "read process",
      cause,
    });
  }
}

/** The container's own process with what the options change. */
function processFrom({ spec }: StoredContainer, args: Arguments, command: string[]): SpecProcess {
  const { process: base } = spec;
  if (base === undefined) throw usage("exec: the container has no process to take defaults from");
  const caps = args.list("cap");
  const added = (set: string[] | undefined) => [...new Set([...(set ?? []), ...caps])];
  const { bounding, effective, permitted, inheritable, ambient } = base.capabilities ?? {};
  const apparmor = args.value("apparmor");
  const label = args.value("process-label");
  const { consoleSize: _, ...inherited } = base;
  return {
    ...inherited,
    args: command,
    terminal: args.flag("tty"),
    cwd: args.value("cwd") ?? base.cwd,
    env: [...(base.env ?? []), ...args.list("env")],
    user: userFrom(base.user, args),
    ...(args.flag("no-new-privs") && { noNewPrivileges: true }),
    ...(apparmor && { apparmorProfile: apparmor }),
    ...(label && { selinuxLabel: label }),
    capabilities: {
      bounding: added(bounding),
      effective: added(effective),
      permitted: added(permitted),
      inheritable: inheritable ?? [],
      ambient: caps.length > 0 ? added(ambient) : (ambient ?? []),
    },
  };
}

function userFrom(base: SpecProcess["user"], args: Arguments): SpecProcess["user"] {
  const given = args.value("user");
  const groups = args.list("additional-gids").map((group) => number(group, "additional-gids"));
  const user = given === undefined ? base : parseUser(given, base);
  return groups.length === 0
    ? user
    : { ...user, additionalGids: [...(user.additionalGids ?? []), ...groups] };
}

function parseUser(text: string, base: SpecProcess["user"]): SpecProcess["user"] {
  const [uid = "", gid] = text.split(":", 2);
  return {
    ...base,
    uid: number(uid, "user"),
    gid: gid === undefined ? base.gid : number(gid, "user"),
  };
}

function number(text: string, option: string): number {
  if (!/^\d{1,10}$/.test(text)) throw usage(`invalid value ${JSON.stringify(text)} for flag -${option}`);
  return Number(text);
}
