/**
 * What `process` of a configuration (config.md, "Process") may say: everything the kernel would refuse in confusing ways,
 * or only once half of a container is made, is refused here, by the name of its field. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { capabilityNumber, missingCapabilities } from "#runtime/capabilities.ts";
import { cleanPath } from "#runtime/compile/inside-root.ts";
import { checkLabels } from "#runtime/compile/labels.ts";
import { checkScheduling } from "#runtime/compile/scheduling.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import { checkRlimits } from "#runtime/rlimits.ts";
import type { CapabilitySet, SpecProcess } from "#runtime/spec-types.ts";

/** The highest user or group; one more is chown's and setresuid's "leave it as it is". */
const MAX_ID = 0xffff_fffe;
const MAX_UMASK = 0o777;
const MAX_OOM_SCORE_ADJ = 1000;
const MAX_CONSOLE_SIZE = 0xffff;

const SETS: readonly CapabilitySet[] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/** Throws "invalid", naming the field. */
export function checkProcess(process: SpecProcess, host: HostFacts): void {
  const { args, env, user, capabilities = {} } = process;
  const sets = SETS.map((set) => [`capabilities.${set}`, capabilities?.[set]] as const);
  for (const [field, value] of [
    ["args", args],
    ["env", env],
    ["rlimits", process.rlimits],
    ["user.additionalGids", user?.additionalGids],
    ...sets,
  ] as const) {
    if (value !== undefined && !Array.isArray(value)) throw refuse(field, "must be a list");
  }
  checkCommand(process);
  checkUser(user);
  const { oomScoreAdj, rlimits = [], consoleSize } = process;
  if (oomScoreAdj !== undefined) within("oomScoreAdj", oomScoreAdj, -MAX_OOM_SCORE_ADJ, MAX_OOM_SCORE_ADJ);
  if (consoleSize !== undefined) {
    within("consoleSize.height", consoleSize.height, 0, MAX_CONSOLE_SIZE);
    within("consoleSize.width", consoleSize.width, 0, MAX_CONSOLE_SIZE);
  }
  checkRlimits(rlimits);
  for (const set of SETS) {
    for (const name of process.capabilities?.[set] ?? []) {
      if (capabilityNumber(name) === undefined)
        throw refuse(`capabilities.${set}`, `unknown capability ${JSON.stringify(name)}`);
    }
  }
  checkScheduling(process);
  checkLabels(process, host);
}

/** What is passed over, for the user to know. */
export function processWarnings(process: SpecProcess, host: HostFacts): string[] {
  const names = SETS.flatMap((set) => process.capabilities?.[set] ?? []);
  const missing = missingCapabilities(names, availableCapabilities(host));
  return missing.length === 0
    ? []
    : [`process.capabilities: ignoring unavailable capabilities: ${missing.join(" ")}`];
}

/** Those that the kernel has and that are ours to give. */
export function availableCapabilities({ lastCapability, availableCapabilities: own }: HostFacts): bigint {
  const all = (1n << BigInt(lastCapability + 1)) - 1n;
  return own === undefined ? all : own & all;
}

function checkCommand({ args, env = [], cwd }: SpecProcess): void {
  if (!args?.length) throw refuse("args", "no command specified");
  if (args[0] === "") throw refuse("args", 'exec: "": executable file not found in $PATH');
  texts("args", args);
  texts("env", env);
  env.forEach((entry, index) => {
    const equals = entry.indexOf("=");
    if (equals < 0)
      throw refuse(`env[${index}]`, `invalid environment variable ${JSON.stringify(entry)}: missing '='`);
    if (equals === 0) throw refuse(`env[${index}]`, "invalid environment variable: its name is empty");
  });
  if (typeof cwd !== "string" || cwd === "") throw refuse("cwd", "must not be empty");
  if (!cwd.startsWith("/"))
    throw refuse("cwd", `the working directory ${JSON.stringify(cwd)} is not an absolute path`);
  cleanPath(cwd, "process.cwd: working directory");
}

function texts(field: string, list: readonly string[]): void {
  list.forEach((text: unknown, index) => {
    if (typeof text !== "string") throw refuse(`${field}[${index}]`, "must be a string");
    if (text.includes("\0")) throw refuse(`${field}[${index}]`, "must not contain NUL");
  });
}

function checkUser(user: SpecProcess["user"] | undefined): void {
  if (typeof user !== "object" || user === null) throw refuse("user", "must not be empty");
  const { uid, gid, umask, additionalGids = [] } = user;
  within("user.uid", uid, 0, MAX_ID);
  within("user.gid", gid, 0, MAX_ID);
  additionalGids.forEach((id, index) => {
    within(`user.additionalGids[${index}]`, id, 0, MAX_ID);
  });
  if (umask !== undefined) within("user.umask", umask, 0, MAX_UMASK);
}

function within(field: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) return;
  throw refuse(field, `${JSON.stringify(value)} is not a whole number from ${least} to ${most}`);
}

function refuse(field: string, message: string): BerthError {
  return new BerthError("invalid", `process.${field}: ${message}`, { operation: "compile process" });
}
