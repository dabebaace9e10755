/** What a daemon holds of the machine's: no more than what its containers and networks need. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { TestDaemon } from "#test/fixtures/daemon.ts";
import { allProcesses } from "./processes.ts";

export interface Held {
  links: string[];
  rules: string[];
  mounts: string[];
  layers: string[];
  /** Everything under the roots, but for what is in layers. */
  files: string[];
  cgroups: string[];
  shims: number;
  /** Open ones of the daemon, the zygote and the port proxy. */
  descriptors: Record<string, number>;
  /** Namespaces, sockets and pipes that these hold by descriptors. */
  namespaces: number;
}

const CGROUPS = "/sys/fs/cgroup";

/** `known`: every container that ever was, for what is not the daemon's alone. */
export function heldBy(daemon: TestDaemon, known: ReadonlySet<string>): Held {
  const list = (path: string) => (existsSync(path) ? readdirSync(path) : []);
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { encoding: "utf8" }).split("\n").filter(Boolean);
  const layers = list(join(daemon.dataRoot, "overlay2"));
  const named = [{ pid: daemon.pid, name: "daemon" }, ...allProcesses(daemon)];
  const lasting = named.filter(({ name }) => name !== "berth-shim");
  const open = lasting.map(({ pid, name }) => ({ name, links: descriptorsOf(pid) }));
  return {
    links: list("/sys/class/net"),
    rules: ["iptables-save", "ip6tables-save"].flatMap((program) =>
      run(program).filter((line) => line.startsWith("-A ")),
    ),
    mounts: daemon.mounts(),
    layers: layers.filter((name) => name !== "l" && !name.startsWith(".spare-")),
    files: [...filesBelow(daemon.dataRoot), ...filesBelow(daemon.execRoot)],
    cgroups: list(CGROUPS).flatMap((controller) =>
      list(join(CGROUPS, controller, "berth"))
        .filter((name) => known.has(name))
        .map((name) => join(controller, name)),
    ),
    shims: named.length - lasting.length,
    descriptors: Object.fromEntries(open.map(({ name, links }) => [name, links.length])),
    namespaces: open.flatMap(({ links }) => links).filter((link) => /^[a-z]+:\[\d+\]$/.test(link)).length,
  };
}

function descriptorsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return numbersIn(directory).flatMap((name) => {
    try {
      return [readlinkSync(join(directory, name))];
    } catch {
      return []; // Closed in between.
    }
  });
}

function numbersIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // The process has ended in between.
  }
}

/**
 * Paths of files and directories; not what is in a layer, nor init layers that wait for their next container, nor what a
 * database keeps beside itself, nor locks.
 */
function filesBelow(root: string): string[] {
  const { stdout, error } = spawnSync("find", [
    root,
    "-regextype",
    "posix-extended",
    "-regex",
    ".*/overlay2/([^/]*/[^/]*/.*|\\.spare-.*)",
    "-prune",
    "-o",
    "-print",
  ]);
  // Its exit code says that a directory went while it looked; only a search that could not be made is a failure.
  if (error !== undefined) throw error;
  // The directory of namespaces comes with the first one.
  return stdout
    .toString()
    .split("\n")
    .filter(
      (path) =>
        path !== "" &&
        path !== join(root, "netns") &&
        !/\.db(\.backup)?(-wal|-shm|-journal)?$|\.sock\.lock$/.test(path),
    );
}

/** Idle connections and threads make a few more descriptors. */
const SLACK = 40;

/** What there is more of than at first; "" for nothing. */
export function moreThan(first: Held, now: Held): string {
  const more: string[] = [];
  for (const key of ["links", "rules", "mounts", "layers", "files", "cgroups"] as const) {
    const before = new Set(first[key]);
    const extra = now[key].filter((name) => !before.has(name));
    if (extra.length > 0) more.push(`${key}: ${extra.slice(0, 20).join(", ")}`);
  }
  if (now.shims > first.shims) more.push(`${now.shims - first.shims} shims`);
  if (now.namespaces > first.namespaces)
    more.push(`${now.namespaces - first.namespaces} namespaces, sockets and pipes held`);
  for (const [name, count] of Object.entries(now.descriptors)) {
    const before = first.descriptors[name] ?? 0;
    if (count > before + SLACK) more.push(`${count - before} descriptors of ${name}`);
  }
  return more.join("; ");
}
