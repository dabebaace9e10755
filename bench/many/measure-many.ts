/**
 * One engine with more and more containers running at once: how long each start takes, what memory they take, how
 * long lists and figures take with all of them, and what is left when all are removed again.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { cli } from "../clients/command-line.ts";
import { callForText, create, inParallel, remove, start, timed } from "../clients/engine-api.ts";
import { checkInterrupted } from "../interruption.ts";
import type { Peer } from "../peers/peer-types.ts";
import { pssOf } from "../peers/processes.ts";

const COMMAND = ["sleep", "100000"];
/** Containers between two looks at the memory: adding up that of a thousand processes takes longer than a start. */
const EVERY = 50;
/** Requests under way at a time, where they are. */
const CLIENTS = 16;
/** How often a short request is repeated; the median counts. */
const REPEATS = 5;

/** KiB, with so many containers. */
export interface Memory {
  containers: number;
  daemon: number;
  /** Shims and whatever else there is for each. */
  others: number;
  /** Of the whole machine; from before the first. */
  kernel: number;
  available: number;
}

export interface Many {
  engine: string;
  /** Milliseconds, in the order of their starts, one after the other. */
  starts: number[];
  creates: number[];
  memory: Memory[];
  /** Processor time of the daemons for each of the containers up to so many, since the last look, ms: no other work is in it. */
  processor: { containers: number; each: number }[];
  /** Milliseconds, by what was asked, with one container and with all. */
  asked: Record<string, [one: number, all: number]>;
  /** Seconds until all were gone. */
  removal: number;
  /** What was there afterwards and not before; empty if all is well. */
  left: string[];
}

/** Starts `count`, one after the other, and removes them. Throws what the engine refuses. */
export async function measureMany(peer: Peer, count: number): Promise<Many> {
  const ids: string[] = [];
  const result: Many = {
    engine: peer.name,
    starts: [],
    creates: [],
    memory: [],
    processor: [],
    asked: {},
    removal: 0,
    left: [],
  };
  // What an engine makes at its first container is its own, not a container's.
  const first = await create(peer, COMMAND);
  await start(peer, first);
  await remove(peer, first);
  const before = { memory: look(peer, 0), held: held(peer) };
  const one: Record<string, number> = {};
  let used = processorTime(peer);
  const lookAgain = (n: number) => {
    const each = (processorTime(peer) - used) / (n - (result.memory.at(-1)?.containers ?? 0));
    if (n > 0) result.processor.push({ containers: n, each });
    result.memory.push(since(look(peer, n), before.memory));
    used = processorTime(peer);
  };
  try {
    for (let n = 0; n < count; n++) {
      checkInterrupted();
      if (n % EVERY === 0) lookAgain(n);
      let id = "";
      result.creates.push(
        await timed(async () => {
          id = await create(peer, COMMAND);
        }),
      );
      ids.push(id);
      result.starts.push(await timed(() => start(peer, id)));
      if (n === 0) Object.assign(one, await ask(peer, ids));
    }
    lookAgain(count);
    const all = await ask(peer, ids);
    for (const [what, time] of Object.entries(all)) result.asked[what] = [one[what] ?? 0, time];
  } finally {
    const removing = timed(() => inParallel(ids.length, CLIENTS, (n) => remove(peer, ids[n] ?? "")));
    result.removal = (await removing) / 1000;
  }
  result.left = await leftovers(peer, before.held);
  return result;
}

/** Milliseconds of what people ask while containers run. */
async function ask(peer: Peer, ids: readonly string[]): Promise<Record<string, number>> {
  const stats = (id: string) =>
    callForText(peer, "GET", `/containers/${id}/stats?stream=false&one-shot=true`);
  const [newest = ""] = ids.slice(-1);
  return {
    "GET /containers/json": await repeated(() => callForText(peer, "GET", "/containers/json")),
    "docker ps": await repeated(() => cli(peer, "ps")),
    "inspect of one": await repeated(() => callForText(peer, "GET", `/containers/${newest}/json`)),
    "one-shot stats of one": await repeated(() => stats(newest)),
    "one-shot stats of all": await timed(() => inParallel(ids.length, CLIENTS, (n) => stats(ids[n] ?? ""))),
    "docker stats --no-stream": await timed(() => cli(peer, "stats", "--no-stream")),
  };
}

async function repeated(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < REPEATS; n++) times.push(await timed(work));
  return times.sort((one, other) => one - other)[REPEATS >> 1] ?? 0;
}

function look(peer: Peer, containers: number): Memory {
  const pids = peer.processes();
  const others = new Set(pids.filter(isForOne));
  const daemon = pids.filter((pid) => !others.has(pid));
  return { containers, daemon: pssOf(daemon), others: pssOf(others), ...machineMemory() };
}

/** Is it there because of one container? */
function isForOne(pid: number): boolean {
  return /^(berth-shim|containerd-shim|docker-proxy)/.test(read(`/proc/${pid}/comm`));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has ended.
  }
}

/** Of the daemons, without what is there for each container, ms (proc(5): stat, fields 14 and 15, in hundredths). */
function processorTime(peer: Peer): number {
  let time = 0;
  for (const pid of peer.daemonProcesses()) {
    if (isForOne(pid)) continue;
    const text = read(`/proc/${pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    time += 10 * (Number(fields[11] ?? 0) + Number(fields[12] ?? 0));
  }
  return time;
}

function since(now: Memory, before: Memory): Memory {
  return {
    containers: now.containers,
    daemon: now.daemon,
    others: now.others - before.others,
    kernel: now.kernel - before.kernel,
    available: before.available - now.available,
  };
}

/** KiB, of /proc/meminfo: what the kernel keeps and cannot give back at will, and what could still be had. */
function machineMemory(): { kernel: number; available: number } {
  const text = readFileSync("/proc/meminfo", "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  const kept = ["SUnreclaim", "KernelStack", "PageTables", "Percpu"];
  return { kernel: kept.reduce((sum, name) => sum + field(name), 0), available: field("MemAvailable") };
}

/** What containers could leave behind: mounts, links, processes, directories. */
function held(peer: Peer): Record<string, number> {
  const lines = readFileSync(`/proc/${peer.daemonProcesses()[0]}/mountinfo`, "utf8").split("\n");
  return {
    mounts: lines.filter((line) => line.includes(peer.directory)).length,
    links: readdirSync("/sys/class/net").filter(isPort).length,
    processes: peer.processes().length,
    directories: readdirSync(join(peer.dataRoot, "containers")).length,
    // What the next container of the same image begins with is kept.
    layers: readdirSync(join(peer.dataRoot, "overlay2")).filter((name) => !name.startsWith(".spare-")).length,
  };
}

/** Of a bridge of this run's (peers/berth.ts, peers/dockerd.ts). */
function isPort(link: string): boolean {
  try {
    const bridge = basename(readlinkSync(`/sys/class/net/${link}/master`));
    return bridge.startsWith("bench") && bridge.endsWith(String(process.pid));
  } catch {
    return false; // Of none, or gone meanwhile.
  }
}

async function leftovers(peer: Peer, before: Record<string, number>): Promise<string[]> {
  let left: string[] = [];
  for (const end = performance.now() + 30_000; performance.now() < end; ) {
    left = Object.entries(held(peer))
      .filter(([what, count]) => count > (before[what] ?? 0))
      .map(([what, count]) => `${what}: ${count}, ${before[what]} before`);
    if (left.length === 0) return left;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return left;
}
