import { readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { updateContainer } from "#oci/update.ts";
import type { SpecResources } from "#runtime/spec-types.ts";
import { type Arguments, takeWords, usage } from "../arguments.ts";
import type { Command } from "../command.ts";

/** Option → where it goes, and how its text is read. */
const FIELDS = {
  "blkio-weight": ["blockIO", "weight", "number"],
  "cpu-period": ["cpu", "period", "number"],
  "cpu-quota": ["cpu", "quota", "number"],
  "cpu-burst": ["cpu", "burst", "number"],
  "cpu-share": ["cpu", "shares", "number"],
  "cpu-rt-period": ["cpu", "realtimePeriod", "number"],
  "cpu-rt-runtime": ["cpu", "realtimeRuntime", "number"],
  "cpu-idle": ["cpu", "idle", "number"],
  "cpuset-cpus": ["cpu", "cpus", "text"],
  "cpuset-mems": ["cpu", "mems", "text"],
  "kernel-memory": ["memory", "kernel", "size"],
  "kernel-memory-tcp": ["memory", "kernelTCP", "size"],
  memory: ["memory", "limit", "size"],
  "memory-reservation": ["memory", "reservation", "size"],
  "memory-swap": ["memory", "swap", "size"],
  "pids-limit": ["pids", "limit", "number"],
} as const;

export const update: Command = {
  usage: "update ID",
  summary: "change the limits of a container",
  options: {
    "resources r": "value",
    ...Object.fromEntries(Object.keys(FIELDS).map((name) => [name, "value" as const])),
    "l3-cache-schema": "value",
    "mem-bw-schema": "value",
  },
  async run({ states }, args) {
    const [id = ""] = takeWords("update", args.rest, "container id");
    for (const name of ["l3-cache-schema", "mem-bw-schema"]) {
      if (args.value(name) !== undefined) {
        throw new BerthError("not-implemented", `--${name}: Intel RDT is not supported`, {
          operation: "update",
        });
      }
    }
    const file = args.value("resources");
    await updateContainer(states, states.load(id), file === undefined ? fromOptions(args) : fromFile(file));
    return 0;
  },
};

/** "-" is stdin. */
function fromFile(path: string): SpecResources {
  try {
    return JSON.parse(readFileSync(path === "-" ? 0 : path, "utf8")) as SpecResources;
  } catch (cause) {
    throw new BerthError(
      "invalid",
      `--resources ${path}: ${cause instanceof Error ? cause.message : cause}`,
      {
        operation: "read resources",
        cause,
      },
    );
  }
}

function fromOptions(args: Arguments): SpecResources {
  const resources: Record<string, Record<string, string | number>> = {};
  for (const [name, [section, field, kind]] of Object.entries(FIELDS)) {
    const text = args.value(name);
    if (text === undefined || text === "") continue;
    resources[section] ??= {};
    resources[section][field] =
      kind === "text" ? text : kind === "size" ? size(name, text) : whole(name, text);
  }
  return resources as SpecResources;
}

function whole(name: string, text: string): number {
  if (!/^-?\d{1,19}$/.test(text)) throw usage(`invalid value for ${name}: ${text}`);
  return Number(text);
}

/** "64m", "1.5g", "-1": units of 1024, as runc takes them. */
function size(name: string, text: string): number {
  if (text === "-1") return -1;
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp])?i?b?$/i.exec(text) ?? [];
  if (number === undefined) throw usage(`invalid value for ${name}: ${text}`);
  return Math.floor(Number(number) * 1024 ** " kmgtp".indexOf(unit.toLowerCase() || " "));
}
