/** What a daemon holds of the machine's: no more than what its containers and networks need. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { TestDaemon } from "#test/fixtures/daemon.ts";

export interface Held {
  links: string[];
  rules: string[];
  mounts: string[];
  layers: string[];
  directories: string[];
  cgroups: string[];
  shims: number;
  descriptors: number;
}

const CGROUPS = "/sys/fs/cgroup";

/** `known`: every container that ever was, for what is not the daemon's alone. */
export function heldBy(daemon: TestDaemon, known: ReadonlySet<string>): Held {
  const list = (path: string) => (existsSync(path) ? readdirSync(path) : []);
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { encoding: "utf8" }).split("\n").filter(Boolean);
  const layers = list(join(daemon.dataRoot, "overlay2"));
  return {
    links: list("/sys/class/net"),
    rules: run("iptables-save").filter((line) => / -j DNAT /.test(line)),
    mounts: daemon.mounts(),
    layers: layers.filter((name) => name !== "l"),
    directories: [
      "data/containers",
      "data/volumes",
      "data/image/tmp",
      "run/containers",
      "run/execs",
      "run/netns",
    ].flatMap((path) => list(join(daemon.directory, path)).map((name) => join(path, name))),
    cgroups: list(CGROUPS).flatMap((controller) =>
      list(join(CGROUPS, controller, "berth"))
        .filter((name) => known.has(name))
        .map((name) => join(controller, name)),
    ),
    shims: daemon.launchers().reduce((sum, pid) => sum + childrenOf(pid), 0),
    descriptors: list(`/proc/${daemon.pid}/fd`).length,
  };
}

function childrenOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => execFileSync("cat", [`/proc/${pid}/task/${task}/children`], { encoding: "utf8" }))
    .join(" ")
    .split(" ")
    .filter((word) => word.trim() !== "").length;
}

/** What there is more of than at first; "" for nothing. Descriptors may be a few more: idle connections, threads. */
export function moreThan(first: Held, now: Held): string {
  const more: string[] = [];
  for (const key of ["links", "rules", "mounts", "layers", "directories", "cgroups"] as const) {
    const extra = now[key].filter((name) => !first[key].includes(name));
    if (extra.length > 0) more.push(`${key}: ${extra.join(", ")}`);
  }
  if (now.shims > first.shims) more.push(`${now.shims - first.shims} shims`);
  if (now.descriptors > first.descriptors + 40)
    more.push(`${now.descriptors - first.descriptors} descriptors`);
  return more.join("; ");
}
