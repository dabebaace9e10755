/**
 * Contestants in turn, with an idle gap before every run: back to back, runs hide what an idle system waits for (in cgroup v1
 * the first move of a process waits for an RCU grace period). Who comes first changes from round to round.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Case, Rig, Undo } from "./case-types.ts";
import { checkInterrupted, unlessInterrupted } from "./interruption.ts";
import type { Peer } from "./peers/peer-types.ts";
import { FLOOR, makeRow, type Row } from "./rows.ts";

export const GAP_MS = 250;
/** How long one run may take, ms. */
const PATIENCE_MS = 180_000;

export interface Contestant {
  name: string;
  run(): Promise<number>;
}

interface Results {
  values: Map<string, number[]>;
  /** Who could not, and why. */
  missing: Record<string, string>;
}

/** Runs all of them `runs` times. Whoever fails is left out from then on. */
export async function interleave(
  contestants: readonly Contestant[],
  runs: number,
  gap = GAP_MS,
): Promise<Results> {
  const results: Results = { values: new Map(contestants.map(({ name }) => [name, []])), missing: {} };
  for (let round = 0; round < runs; round++) {
    for (const { name, run } of rotated(contestants, round)) {
      if (!results.values.has(name)) continue;
      await sleep(gap);
      try {
        results.values.get(name)?.push(await unlessInterrupted(inTime(run())));
      } catch (error) {
        checkInterrupted();
        leaveOut(results, name, error);
      }
    }
  }
  return results;
}

const nothing = async () => undefined;

/** One case on all peers and its floor. */
export async function measureCase(
  section: string,
  bench: Case,
  peers: readonly Peer[],
  rig: Rig,
  gap = GAP_MS,
): Promise<Row> {
  const none: Results = { values: new Map(), missing: {} };
  const contestants: Contestant[] = [];
  const undo: Undo[] = [];
  try {
    for (const peer of peers) {
      const reason = bench.without?.[peer.name];
      if (reason !== undefined) {
        none.missing[peer.name] = reason;
        continue;
      }
      try {
        undo.push((await unlessInterrupted(bench.prepare?.(peer) ?? nothing())) ?? nothing);
        contestants.push({ name: peer.name, run: () => bench.measure(peer) });
      } catch (error) {
        checkInterrupted();
        leaveOut(none, peer.name, error);
      }
    }
    const { floor } = bench;
    if (floor !== undefined) contestants.push({ name: FLOOR, run: () => floor(rig) });
    const { values, missing } = await interleave(contestants, bench.runs, gap);
    const { name, unit } = bench;
    return makeRow({ section, name, unit, values, missing: { ...none.missing, ...missing } }, bench);
  } finally {
    for (const one of undo) await one().catch((error) => console.error(`bench: ${bench.name}: ${error}`));
  }
}

function leaveOut({ values, missing }: Results, name: string, error: unknown): void {
  values.delete(name);
  missing[name] = reasonOf(error);
  console.error(`bench: ${name}: ${error instanceof Error ? error.message : error}`);
}

/** Rejects what hangs. */
async function inTime(run: Promise<number>): Promise<number> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = new Error(`no end within ${PATIENCE_MS / 1000} s`);
  const timer = setTimeout(() => reject(late), PATIENCE_MS);
  try {
    return await Promise.race([promise, run]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same in another order, each time another first. */
export function rotated<T>(all: readonly T[], round: number): T[] {
  const first = all.length === 0 ? 0 : round % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}

/** One line of an error: of a command line what it printed, not itself. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const told = lines.find((line) => /^(Error|docker:|berth:)/.test(line)) ?? lines[0] ?? "it failed";
  return told.slice(0, 160);
}
