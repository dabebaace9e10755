/**
 * `npm run bench`: Berth beside Debian's dockerd, in turn, with an idle gap before every run.
 *
 * The gap matters: back-to-back runs hide what an idle system waits for (in cgroup v1 the first move of a process
 * waits for an RCU grace period). Prints one table, and writes build/bench.json.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeRootArchive } from "./busybox-root.ts";
import { CASES, type Case, docker, IMAGE } from "./cases.ts";
import { type Peer, startBerth, startDocker } from "./peer.ts";
import { benchRuntimes } from "./runtimes.ts";
import { median, quantile } from "./statistics.ts";
import { printTable } from "./table.ts";

const GAP_MS = 250;
const ROOT = resolve(import.meta.dirname, "..");

interface Row {
  name: string;
  unit: string;
  figures: Record<string, { median: number; p95: number }>;
  ratio: number;
  verdict: string;
}

async function measure(peers: Peer[], bench: Case): Promise<Row> {
  const values = new Map(peers.map((peer) => [peer, [] as number[]]));
  for (let round = 0; round < bench.runs; round++) {
    for (const peer of peers) {
      await sleep(GAP_MS);
      values.get(peer)?.push(await bench.measure(peer));
    }
  }
  const figures = Object.fromEntries(
    peers.map((peer) => {
      const all = values.get(peer) ?? [];
      return [peer.name, { median: median(all), p95: quantile(all, 0.95) }];
    }),
  );
  const mine = figures.berth?.median ?? Number.NaN;
  const ratio = mine / (figures.dockerd?.median ?? Number.NaN);
  return { name: bench.name, unit: bench.unit, figures, ratio, verdict: verdict(bench, mine, ratio) };
}

function verdict(bench: Case, mine: number, ratio: number): string {
  const goals: string[] = [];
  if (bench.budget !== undefined) {
    goals.push(`${ratio <= bench.budget ? "ok" : "OVER"}: at most 1/${Math.round(1 / bench.budget)}`);
  }
  if (bench.bound !== undefined)
    goals.push(`${mine <= bench.bound ? "ok" : "OVER"}: at most ${bench.bound} ${bench.unit}`);
  return goals.join(", ");
}

function print(rows: Row[]): void {
  const table = rows.map((row) => {
    const figure = (name: string) => {
      const { median, p95 } = row.figures[name] ?? { median: Number.NaN, p95: Number.NaN };
      return `${median.toFixed(1)} / ${p95.toFixed(1)} ${row.unit}`;
    };
    return [row.name, figure("berth"), figure("dockerd"), `1/${(1 / row.ratio).toFixed(1)}`, row.verdict];
  });
  const head = ["case", "berth (median / p95)", "dockerd (median / p95)", "ratio", "budget"];
  printTable([head, ...table]);
}

const directory = mkdtempSync(join(tmpdir(), "berth-bench-"));
const peers: Peer[] = [];
try {
  peers.push(await startBerth(join(directory, "berth")));
  peers.push(await startDocker(join(directory, "docker")));
  const archive = makeRootArchive(directory);
  for (const peer of peers) await docker(peer, "import", "-c", "ENV PATH=/bin", archive, IMAGE);
  const rows: Row[] = [];
  for (const bench of CASES) {
    console.error(`bench: ${bench.name} …`);
    rows.push(await measure(peers, bench));
  }
  print(rows);
  console.error("bench: berth-oci beside runc and crun …");
  const runtimes = await benchRuntimes(directory, archive);
  mkdirSync(join(ROOT, "build"), { recursive: true });
  writeFileSync(join(ROOT, "build/bench.json"), `${JSON.stringify({ rows, runtimes }, null, 2)}\n`);
} finally {
  for (const peer of peers) await peer.stop();
  rmSync(directory, { recursive: true, force: true });
}
