/** With a hundred containers running: what each of them costs in memory, and figures of all of them. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Case, Undo } from "../case-types.ts";
import { cli } from "../clients/command-line.ts";
import { callForText, create, inParallel, start, timed } from "../clients/engine-api.ts";
import { readCounters } from "../floors/counters.ts";
import type { Peer } from "../peers/peer-types.ts";
import { ownPssOf } from "../peers/processes.ts";
import { removeAll } from "./parallel.ts";

const MANY = 100;
const COMMAND = ["sleep", "100000"];
/** Requests under way at a time. */
const CLIENTS = 16;

/** Until an engine has given back what it needed for the starts alone, the same for all, ms: runtimes with a collector do so after a while. */
const SETTLE_MS = 15_000;

/** What a container adds, KiB. */
interface Growth {
  processes: number;
  /** The part of it that is in the daemons. */
  daemons: number;
  kernel: number;
}

const grown = new Map<string, Growth>();
const ids = new Map<string, readonly string[]>();

export const RUNNING_CASES: Case[] = [
  {
    name: `memory of a running container, of ${MANY}`,
    unit: "KiB",
    runs: 1,
    budget: 1 / 50,
    note: "PSS of shims, conmons and proxies, and growth of the daemons, by container, without their programs' files; what runs inside is not counted",
    measure: async (peer) => growthOf(peer).processes,
  },
  {
    name: "of that in the daemons",
    unit: "KiB",
    runs: 1,
    why: "what an engine knows of a container is in the memory of its daemon; podman reads it from files for each answer",
    measure: async (peer) => growthOf(peer).daemons,
  },
  {
    name: "and in the kernel",
    unit: "KiB",
    runs: 1,
    note: "growth of slabs, kernel stacks, page tables and per-processor memory of the whole machine, by container: namespaces, links, groups",
    why: "this is what the kernel keeps for namespaces, links and groups; it is the machine's figure, and others' work is in it",
    measure: async (peer) => growthOf(peer).kernel,
    floor: async ({ launcher }) => {
      const before = kernelMemory();
      const all = Array.from({ length: MANY }, () => launcher.prepare(COMMAND, { network: true }));
      await inParallel(MANY, CLIENTS, async (n) => void (all[n] && (await launcher.launch(all[n]))));
      const growth = (kernelMemory() - before) / MANY;
      await inParallel(MANY, CLIENTS, async (n) => void (all[n] && (await launcher.kill(all[n]))));
      return growth;
    },
  },
  {
    name: `API stats of ${MANY} running, each one shot`,
    unit: "ms",
    runs: 5,
    budget: 1,
    measure: (peer) => {
      const all = ids.get(peer.name) ?? [];
      const stats = (id: string | undefined) =>
        callForText(peer, "GET", `/containers/${id}/stats?stream=false&one-shot=true`);
      return timed(() => inParallel(all.length, CLIENTS, (n) => stats(all[n])));
    },
    floor: async ({ launcher }) => {
      const prepared = launcher.prepare(COMMAND, { network: true });
      const { pid } = await launcher.launch(prepared);
      try {
        return await timed(async () => {
          for (let n = 0; n < MANY; n++) readCounters(launcher.groupsOf(prepared), pid);
        });
      } finally {
        await launcher.kill(prepared);
      }
    },
  },
  {
    name: `stats --no-stream of ${MANY} running`,
    unit: "ms",
    runs: 3,
    budget: 1.05,
    why: "docker's command line waits for a second figure, which comes a second after the first; podman's asks once and takes the average since the start",
    measure: (peer) => timed(() => cli(peer, "stats", "--no-stream")),
  },
  {
    name: `ps with ${MANY} running`,
    unit: "ms",
    runs: 5,
    budget: 1,
    measure: (peer) => timed(() => cli(peer, "ps")),
  },
];

/** Starts them, after others that are gone again, and notes what grew. */
export async function hundredRunning(peer: Peer): Promise<Undo> {
  const started: string[] = [];
  const undo = () => removeAll(peer, started);
  try {
    // What an engine keeps of its first containers after they are gone is its own; and what it needed to begin at all goes in
    // the quiet after them, which would hide what the others cost.
    for (let round = 0; round < 2; round++) {
      if (round > 0) await sleep(SETTLE_MS);
      const first: string[] = [];
      await inParallel(MANY / 2, CLIENTS, async () => void first.push(await oneMore(peer)));
      await removeAll(peer, first);
    }
    const before = await memoryOf(peer);
    await inParallel(MANY, CLIENTS, async () => void started.push(await oneMore(peer)));
    const now = await memoryOf(peer);
    const by = (part: keyof Growth) => (now[part] - before[part]) / MANY;
    grown.set(peer.name, { processes: by("processes"), daemons: by("daemons"), kernel: by("kernel") });
    ids.set(peer.name, started);
    return undo;
  } catch (error) {
    await undo();
    throw error;
  }
}

/** KiB, of a moment in which the engine has nothing to do. */
async function memoryOf(peer: Peer): Promise<Growth> {
  await sleep(SETTLE_MS);
  return {
    processes: ownPssOf(peer.processes()),
    daemons: ownPssOf(peer.daemonProcesses()),
    kernel: kernelMemory(),
  };
}

async function oneMore(peer: Peer): Promise<string> {
  const id = await create(peer, COMMAND);
  await start(peer, id);
  return id;
}

function growthOf(peer: Peer): Growth {
  const growth = grown.get(peer.name);
  if (growth === undefined) throw new Error("its containers were not started");
  return growth;
}

/** KiB (kernel Documentation/filesystems/proc.rst, meminfo); what the kernel cannot give back at will. */
function kernelMemory(): number {
  const text = readFileSync("/proc/meminfo", "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return ["SUnreclaim", "KernelStack", "PageTables", "Percpu"].reduce((sum, name) => sum + field(name), 0);
}
