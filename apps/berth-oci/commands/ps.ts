import { spawnSync } from "node:child_process";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";
import { usage } from "../arguments.ts";
import type { Command } from "../command.ts";

export const ps: Command = {
  usage: "ps ID [PS OPTIONS]",
  summary: "list the processes of a container",
  options: { "format f": "value" },
  run({ states }, args) {
    const [id, ...options] = args.rest;
    if (id === undefined) throw usage("ps: container id is missing");
    const container = states.load(id);
    const pids = containerProcesses(readCgroupLayout(), container.cgroupOwner);
    const format = args.value("format") ?? "table";
    if (format === "json") process.stdout.write(JSON.stringify(pids));
    else if (format === "table") process.stdout.write(listing(pids, options));
    else throw usage(`invalid format option: ${format}`);
    return 0;
  },
};

/** The host's ps, and of what it prints the head and the container's lines. */
function listing(pids: readonly number[], options: readonly string[]): string {
  const ran = spawnSync("ps", options.length === 0 ? ["-ef"] : [...options], { encoding: "utf8" });
  if (ran.error !== undefined || ran.status !== 0) {
    const why = ran.error?.message ?? ran.stderr.trim();
    throw new BerthError("invalid", `ps: ${why}`, { operation: "list processes", hint: "install procps" });
  }
  const [head = "", ...lines] = ran.stdout.trimEnd().split("\n");
  const column = head.split(/\s+/).filter(Boolean).indexOf("PID");
  if (column < 0) throw usage("ps: couldn't find PID field in ps output");
  const wanted = lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[column])));
  return `${[head, ...wanted].join("\n")}\n`;
}
