/**
 * Images beside the peers: the steps of cases/image-steps.ts on the same image from the same registry on the same disk, in turn;
 * the daemon's memory for a small and a large image; what the API's other clients wait meanwhile.
 *
 * Before every run what the one before it left to be written is written, and what an engine removes in the background
 * is gone, for all.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TestRegistry } from "#test/fixtures/registry.ts";
import type { Unit } from "./case-types.ts";
import { type FloorRound, type Round, STEPS, type Step } from "./cases/image-steps.ts";
import { cli } from "./clients/command-line.ts";
import type { Setting } from "./engines.ts";
import { checkInterrupted, unlessInterrupted } from "./interruption.ts";
import { HUNDRED, type ImagePlan, LARGE, layeredImage, publish, SMALL } from "./layered-image.ts";
import { GAP_MS, reasonOf } from "./measure.ts";
import type { Peer } from "./peers/peer-types.ts";
import { BERTH, FLOOR, type Goal, makeRow, type Row } from "./rows.ts";
import { median } from "./statistics.ts";
import { type Cost, watched } from "./watch.ts";

/** Milliseconds that others may wait for an answer, at the 99th percentile. */
const LATENCY_MS = 20;
/** What a seven times larger image may add to the daemon's memory: a tenth. */
const GROWTH = 1.1;
/** A peer that takes so long for one round has no further one, ms. */
const LONG_MS = 90_000;
const WITHOUT_DAEMON = "works in the process of its command line";

/** Where dockerd answers sooner meanwhile, or has less memory. */
const FASTER =
  "Berth does it in a fraction of the time and on all cores: of the few questions that fall into it the slowest counts, or waits for a core";
const HEAPS =
  "berthd is a Node program of 100 MiB before its first image, and each of its storage threads has a heap of its own";

/** Costs by step and contestant, and who has none for which reason. */
interface Costs {
  steps: Map<string, Map<string, Cost[]>>;
  missing: Map<string, Record<string, string>>;
}

/** Every step in turn for all peers, `rounds` times; on daemons just started, so that memory is comparable. */
async function costsOf(
  plan: ImagePlan,
  directory: string,
  rounds: number,
  { starters, absent, only }: Setting,
): Promise<Costs> {
  const costs: Costs = {
    steps: new Map(STEPS.map(({ name }) => [name, new Map()])),
    missing: new Map(STEPS.map(({ name }) => [name, { ...absent }])),
  };
  // The steps need one another; a name alone says only whether any of this is wanted.
  if (rounds === 0 || !STEPS.some(({ name }) => name.includes(only))) return costs;
  const kept = await layeredImage(plan);
  const peers: Peer[] = [];
  const root = mkdtempSync(join(directory, "i-"));
  try {
    await using registry = await TestRegistry.start();
    for (const [name, start] of Object.entries(starters)) peers.push(await start(join(root, name)));
    const image = `${registry.host}/${plan.name}:latest`;
    await publish(kept, registry, plan.name);
    const archive = join(root, "image.tar");
    await makeArchive(peers, image, archive);
    const blobs = `http://${registry.host}/v2/${plan.name}/blobs`;
    const taking = [...peers];
    for (let round = 0; round < rounds; round++) {
      const spent = new Map<Peer, number>();
      for (const step of STEPS) {
        for (const peer of taking) {
          const begun = performance.now();
          await one(step, { peer, image, archive, directory: root }, costs);
          spent.set(peer, (spent.get(peer) ?? 0) + performance.now() - begun);
        }
        if (step.floor !== undefined) await oneFloor(step, { kept, blobs, archive, directory: root }, costs);
      }
      for (const [peer, time] of spent) {
        if (time < LONG_MS || peer.name === BERTH) continue;
        console.error(`bench: ${plan.name}: ${peer.name} took long: no further rounds`);
        taking.splice(taking.indexOf(peer), 1);
      }
      // What the floors unpacked.
      for (const left of ["floor", "floor-load", "upper"])
        rmSync(join(root, left), { recursive: true, force: true });
    }
    return costs;
  } finally {
    for (const peer of peers.toReversed())
      await peer.stop().catch((error) => console.error(`bench: ${peer.name}: ${error}`));
    rmSync(root, { recursive: true, force: true });
  }
}

/** One run of one step on a peer; a failure leaves the peer out of that step's row. */
async function one(step: Step, at: Round, { steps, missing }: Costs): Promise<void> {
  const { name } = at.peer;
  const reasons = missing.get(step.name) ?? {};
  if (reasons[name] !== undefined) return;
  try {
    const work = await step.prepare(at);
    await settled(at.peer);
    const cost = await unlessInterrupted(watched(at.peer, work));
    add(steps, step.name, name, cost);
    console.error(`bench: ${step.name}: ${name} ${costText(cost)}`);
  } catch (error) {
    checkInterrupted();
    console.error(`bench: ${step.name}: ${name}: ${error}`);
    reasons[name] = reasonOf(error);
    steps.get(step.name)?.delete(name);
  } finally {
    await step.after?.(at).catch((error) => console.error(`bench: after ${step.name}: ${name}: ${error}`));
  }
}

async function oneFloor(step: Step, at: FloorRound, { steps, missing }: Costs): Promise<void> {
  execFileSync("sync");
  await sleep(GAP_MS);
  const begun = performance.now();
  try {
    await unlessInterrupted(Promise.resolve(step.floor?.(at)));
    add(steps, step.name, FLOOR, { wall: performance.now() - begun, peak: 0, latency: 0 });
  } catch (error) {
    checkInterrupted();
    const reasons = missing.get(step.name);
    if (reasons !== undefined) reasons[FLOOR] = reasonOf(error);
  }
}

function add(steps: Costs["steps"], step: string, name: string, cost: Cost): void {
  const all = steps.get(step);
  all?.set(name, [...(all.get(name) ?? []), cost]);
}

function costText({ wall, peak, latency }: Cost): string {
  return `${Math.round(wall)} ms, ${Math.round(peak)} MiB, p99 ${latency.toFixed(1)} ms`;
}

/** By dockerd: it is its own format that all can read. */
async function makeArchive(peers: Peer[], image: string, archive: string): Promise<void> {
  const maker = peers.find(({ name }) => name === "dockerd") ?? peers[0];
  if (maker === undefined) throw new Error("no engine to save the image with");
  await cli(maker, "pull", "-q", image);
  await cli(maker, "save", "-o", archive, image);
  await cli(maker, "rmi", image);
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
  setting: Setting,
  rounds: ImageRounds = { large: 3, small: 1, hundred: 3 },
): Promise<Row[]> {
  const hundred = await costsOf(HUNDRED, directory, rounds.hundred, setting);
  const small = await costsOf(SMALL, directory, rounds.small, setting);
  const large = await costsOf(LARGE, directory, rounds.large, setting);
  const rows = (suffix: string, unit: Unit, costs: Costs, part: keyof Cost, goalOf: (step: Step) => Goal) =>
    STEPS.map((step) => row(step, suffix, unit, costs, part, goalOf(step)));
  const speed = ({ budget, why }: Step): Goal => ({
    ...(budget !== undefined && { budget }),
    ...(why !== undefined && { why }),
  });
  const all = [
    ...rows("0.75 GB in 8 layers", "ms", large, "wall", speed),
    ...rows("100 small layers", "ms", hundred, "wall", ({ why }) => (why === undefined ? {} : { why })),
    ...rows("0.75 GB: API p99 meanwhile", "ms", large, "latency", () => ({ bound: LATENCY_MS, why: FASTER })),
    ...rows("0.1 GB: peak memory", "MiB", small, "peak", () => ({ why: HEAPS })),
    ...rows("0.75 GB: peak memory", "MiB", large, "peak", (step) => {
      const before = median(
        small.steps
          .get(step.name)
          ?.get(BERTH)
          ?.map(({ peak }) => peak) ?? [],
      );
      return Number.isNaN(before) ? {} : { bound: Math.round(before * GROWTH), why: HEAPS };
    }),
  ];
  return all.filter(({ figures }) => Object.keys(figures).length > 0);
}

function row(step: Step, suffix: string, unit: Unit, costs: Costs, part: keyof Cost, goal: Goal): Row {
  const missing = { ...costs.missing.get(step.name) };
  const all = new Map(costs.steps.get(step.name));
  if (part !== "wall") all.delete(FLOOR);
  if (part !== "wall" && all.delete("podman")) missing.podman = WITHOUT_DAEMON;
  const values = new Map([...all].map(([who, some]) => [who, some.map((cost) => cost[part])]));
  return makeRow({ section: "images", name: `${step.name}, ${suffix}`, unit, values, missing }, goal);
}
