/**
 * Images beside Debian's dockerd: pull with unpack, push, save, load, commit and rmi of the same image from the same
 * registry on the same disk, in turn; the daemon's memory for a small and a large image; what the API's other clients
 * wait meanwhile.
 *
 * Before every run what the one before it left to be written is written, and what an engine removes in the background
 * is gone, for both.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { docker } from "./cases.ts";
import { HUNDRED, type ImagePlan, LARGE, layeredImage, publish, SMALL } from "./layered-image.ts";
import { type Peer, startBerth, startDocker } from "./peer.ts";
import { type Goal, makeRow, type Row } from "./rows.ts";
import { median } from "./statistics.ts";
import { type Cost, watched } from "./watch.ts";

const GAP_MS = 300;
/** Milliseconds that others may wait for an answer, at the 99th percentile. */
const LATENCY_MS = 20;
/** What a seven times larger image may add to the daemon's memory: a tenth. */
const GROWTH = 1.1;

/** A step of one round; the steps follow each other on the same image. */
interface Step {
  name: string;
  budget?: number;
  /** Answers what is to be measured, after it made ready for it. */
  prepare(at: Round): Promise<() => Promise<unknown>>;
  after?(at: Round): Promise<void>;
}

interface Round {
  peer: Peer;
  /** The image's name in the registry. */
  image: string;
  /** A docker-archive of it that every engine can load. */
  archive: string;
  directory: string;
}

const STEPS: Step[] = [
  {
    name: "pull with unpack",
    budget: 1 / 2,
    prepare: async ({ peer, image }) => {
      return () => docker(peer, "pull", "-q", image);
    },
  },
  {
    name: "commit of a changed file",
    budget: 1,
    prepare: async ({ peer, image }) => {
      await docker(peer, "run", "--name", "changed", "--network", "none", image, "sh", "-c", "echo x > /new");
      return () => docker(peer, "commit", "changed", "changed:1");
    },
    after: async ({ peer }) => {
      await docker(peer, "rm", "-f", "changed");
      await docker(peer, "rmi", "-f", "changed:1").catch(() => {}); // it was not committed
    },
  },
  {
    name: "push",
    budget: 1 / 2,
    prepare: async ({ peer, image }) => {
      const registry = await TestRegistry.start();
      const target = `${registry.host}/pushed-${Math.random().toString(36).slice(2)}:1`;
      await docker(peer, "tag", image, target);
      pushed.set(peer, { registry, target });
      return () => docker(peer, "push", "-q", target);
    },
    after: async ({ peer }) => {
      const { registry, target } = pushed.get(peer) ?? {};
      if (target !== undefined) await docker(peer, "rmi", target);
      await registry?.stop();
      pushed.delete(peer);
    },
  },
  {
    name: "save",
    budget: 1 / 3,
    prepare: async ({ peer, image, directory }) => {
      return () => docker(peer, "save", "-o", join(directory, `${peer.name}.tar`), image);
    },
    after: async ({ peer, directory }) => rmSync(join(directory, `${peer.name}.tar`), { force: true }),
  },
  {
    name: "rmi",
    prepare: async ({ peer, image }) => {
      return () => docker(peer, "rmi", image);
    },
  },
  {
    name: "load",
    budget: 1 / 2,
    prepare: async ({ peer, archive }) => {
      return () => docker(peer, "load", "-q", "-i", archive);
    },
    after: async ({ peer, image }) => {
      await docker(peer, "rmi", image);
    },
  },
];

const pushed = new Map<Peer, { registry: TestRegistry; target: string }>();

/** Costs by step and peer. */
type Costs = Map<string, Map<string, Cost[]>>;

/** Every step in turn for both peers, `rounds` times; on daemons just started, so that memory is comparable. */
async function costsOf(plan: ImagePlan, directory: string, rounds: number): Promise<Costs> {
  const kept = await layeredImage(plan);
  const peers: Peer[] = [];
  const root = mkdtempSync(join(directory, "i-"));
  try {
    await using registry = await TestRegistry.start();
    peers.push(await startBerth(join(root, "berth")), await startDocker(join(root, "docker")));
    const image = `${registry.host}/${plan.name}:latest`;
    await publish(kept, registry, plan.name);
    const archive = join(root, "image.tar");
    await makeArchive(peers, image, archive);
    const costs: Costs = new Map(
      STEPS.map(({ name }) => [name, new Map(peers.map((peer) => [peer.name, []]))]),
    );
    for (let round = 0; round < rounds; round++) {
      for (const step of STEPS) {
        for (const peer of peers) {
          const cost = await runStep(step, { peer, image, archive, directory: root });
          if (cost === undefined) continue;
          costs.get(step.name)?.get(peer.name)?.push(cost);
          console.error(`bench: ${plan.name}: ${step.name}: ${peer.name} ${costText(cost)}`);
        }
      }
    }
    return costs;
  } finally {
    for (const peer of peers) await peer.stop();
    rmSync(root, { recursive: true, force: true });
  }
}

function costText({ wall, peak, latency }: Cost): string {
  return `${Math.round(wall)} ms, ${Math.round(peak)} MiB, p99 ${latency.toFixed(1)} ms`;
}

/** By dockerd: it is its own format that both can read. */
async function makeArchive(peers: Peer[], image: string, archive: string): Promise<void> {
  const maker = peers.find(({ name }) => name === "dockerd") ?? peers[0];
  if (maker === undefined) throw new Error("no engine to save the image with");
  await docker(maker, "pull", "-q", image);
  await docker(maker, "save", "-o", archive, image);
  await docker(maker, "rmi", image);
}

/** Undefined where the engine does not have what the step needs. */
async function runStep(step: Step, at: Round): Promise<Cost | undefined> {
  try {
    const work = await step.prepare(at);
    await settled(at.peer);
    return await watched(at.peer, work);
  } catch (error) {
    const why = /(\S+ \S+ \(\w+\) is not implemented)/.exec(String(error))?.[1];
    if (why === undefined) throw error;
    console.error(`bench: ${step.name}: ${at.peer.name}: ${why}`);
    return undefined;
  } finally {
    await step.after?.(at);
  }
}

/** Waits for what goes on behind the last answer, and for the disk. */
async function settled(peer: Peer): Promise<void> {
  const layers = join(peer.dataRoot, "overlay2");
  const leaving = () => existsSync(layers) && readdirSync(layers).some((name) => name.startsWith(".gone-"));
  while (leaving()) await sleep(50);
  execFileSync("sync");
  await sleep(GAP_MS);
}

export interface ImageRounds {
  large: number;
  small: number;
  hundred: number;
}

/** All rows; `rounds`: how often each image goes through the steps. */
export async function benchImages(
  directory: string,
  rounds: ImageRounds = { large: 3, small: 3, hundred: 3 },
): Promise<Row[]> {
  const hundred = await costsOf(HUNDRED, directory, rounds.hundred);
  const small = await costsOf(SMALL, directory, rounds.small);
  const large = await costsOf(LARGE, directory, rounds.large);
  return [
    ...STEPS.map(({ name, budget }) =>
      row(
        `${name}, 0.75 GB in 8 layers`,
        "ms",
        large.get(name),
        "wall",
        budget === undefined ? {} : { budget },
      ),
    ),
    ...STEPS.map(({ name }) => row(`${name}, 100 small layers`, "ms", hundred.get(name), "wall", {})),
    ...STEPS.map(({ name }) =>
      row(`API p99 during ${name}, 0.75 GB`, "ms", large.get(name), "latency", { bound: LATENCY_MS }),
    ),
    ...STEPS.map(({ name }) => row(`peak memory, ${name}, 0.1 GB`, "MiB", small.get(name), "peak", {})),
    ...STEPS.map(({ name }) => {
      const before = median(
        small
          .get(name)
          ?.get("berth")
          ?.map(({ peak }) => peak) ?? [],
      );
      const bound = Math.round(before * GROWTH);
      return row(`peak memory, ${name}, 0.75 GB`, "MiB", large.get(name), "peak", { bound });
    }),
  ];
}

function row(
  name: string,
  unit: string,
  costs: Map<string, Cost[]> | undefined,
  part: keyof Cost,
  goal: Goal,
): Row {
  const values = new Map([...(costs ?? [])].map(([peer, all]) => [peer, all.map((cost) => cost[part])]));
  return makeRow(name, unit, values, goal);
}
