/**
 * `npm run bench [containers] [networks] [runtimes] [images] [drivers]`: Berth beside Debian's dockerd, in turn, with an idle gap
 * before every run. Without arguments everything. BENCH_ONLY: of the first two's cases only those whose name has this in it.
 *
 * The gap matters: back-to-back runs hide what an idle system waits for (in cgroup v1 the first move of a process
 * waits for an RCU grace period). Prints one table, and writes build/bench.json.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchHost } from "./bench-host.ts";
import { makeRootArchive } from "./busybox-root.ts";
import { CASES, type Case, docker, IMAGE } from "./cases.ts";
import { DNS_CASES } from "./dns-cases.ts";
import { benchDrivers } from "./drivers.ts";
import { ENGINE_CASES } from "./engine-cases.ts";
import { benchImages } from "./images.ts";
import { LOG_CASES } from "./log-cases.ts";
import { NETWORK_CASES } from "./network-cases.ts";
import { type Peer, startBerth, startDocker } from "./peer.ts";
import { makeRow, printRows, type Row } from "./rows.ts";
import { benchRuntimes } from "./runtimes.ts";

const GAP_MS = 250;
const ROOT = resolve(import.meta.dirname, "..");
const PARTS = ["containers", "networks", "images", "runtimes", "drivers"];

async function measure(peers: Peer[], bench: Case): Promise<Row> {
  const values = new Map(peers.map((peer) => [peer.name, [] as number[]]));
  const undo: (() => Promise<void>)[] = [];
  try {
    for (const peer of peers) undo.push((await bench.prepare?.(peer)) ?? (async () => {}));
    for (let round = 0; round < bench.runs; round++) {
      for (const peer of peers) {
        await sleep(GAP_MS);
        values.get(peer.name)?.push(await bench.measure(peer));
      }
    }
  } finally {
    for (const one of undo) await one();
  }
  return makeRow(bench.name, bench.unit, values, bench);
}

/** `alone`: each engine on a host of its own, for what goes through the rules of all engines on a host. */
async function benchCases(
  directory: string,
  archive: string,
  cases: readonly Case[],
  alone = false,
): Promise<Row[]> {
  const peers: Peer[] = [];
  const hosts: BenchHost[] = [];
  try {
    for (const start of [startBerth, startDocker]) {
      const host = alone ? await BenchHost.make() : undefined;
      if (host !== undefined) hosts.push(host);
      peers.push(await start(join(directory, `${start.name}${alone ? "-alone" : ""}`), host));
    }
    for (const peer of peers) await docker(peer, "import", "-c", "ENV PATH=/bin", archive, IMAGE);
    const rows: Row[] = [];
    const only = process.env.BENCH_ONLY ?? "";
    for (const bench of cases.filter(({ name }) => name.includes(only))) {
      console.error(`bench: ${bench.name} …`);
      rows.push(await measure(peers, bench));
    }
    return rows;
  } finally {
    for (const peer of peers) await peer.stop();
    for (const host of hosts) host.end();
  }
}

const asked = process.argv.slice(2);
const unknown = asked.find((part) => !PARTS.includes(part));
if (unknown !== undefined) {
  console.error(`bench: ${unknown} is none of ${PARTS.join(", ")}`);
  process.exit(2);
}
const wanted = new Set(asked.length > 0 ? asked : PARTS);
const directory = mkdtempSync(join(tmpdir(), "berth-bench-"));
const results: Record<string, unknown> = {};
try {
  const archive = makeRootArchive(directory);
  const rows: Row[] = [];
  if (wanted.has("containers")) {
    rows.push(...(await benchCases(directory, archive, [...CASES, ...ENGINE_CASES, ...LOG_CASES])));
  }
  if (wanted.has("networks")) {
    rows.push(...(await benchCases(directory, archive, [...DNS_CASES, ...NETWORK_CASES], true)));
  }
  if (wanted.has("images")) rows.push(...(await benchImages(directory)));
  if (rows.length > 0) printRows(rows);
  results.rows = rows;
  if (wanted.has("runtimes")) {
    console.error("bench: berth-oci beside runc and crun …");
    results.runtimes = await benchRuntimes(directory, archive);
  }
  if (wanted.has("drivers")) results.drivers = await benchDrivers();
  mkdirSync(join(ROOT, "build"), { recursive: true });
  writeFileSync(join(ROOT, "build/bench.json"), `${JSON.stringify(results, null, 2)}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
