/**
 * `npm run bench [-- --install-peers | --without-peers] [part]...`: Berth beside Debian's dockerd and podman, in turn, with an
 * idle gap before every run; docs/performance.md says what each row is. Parts are named in options.ts, all of them without one.
 * BENCH_ONLY: of the cases only those whose name has this in it.
 *
 * Prints one table, and writes build/bench.json or BENCH_FILE. Ends with 1 if something of Berth's failed or is over its budget.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { makeRootArchive } from "./busybox-root.ts";
import type { Rig } from "./case-types.ts";
import { benchDrivers } from "./drivers.ts";
import { benchGroups } from "./engines.ts";
import { BareLauncher } from "./floors/bare-launcher.ts";
import { GROUPS } from "./groups.ts";
import { benchImages } from "./images.ts";
import { heedSignals, Interrupted } from "./interruption.ts";
import { benchMany } from "./many/many.ts";
import { type Options, parseOptions } from "./options.ts";
import { type AvailablePeers, availablePeers, installPeers } from "./peers/available-peers.ts";
import { reportLines } from "./report.ts";
import { BERTH, type Row } from "./rows.ts";
import { benchRuntimes } from "./runtimes.ts";
import { benchStages } from "./stages.ts";

const ROOT = resolve(import.meta.dirname, "..");

const options = parseOptions(process.argv.slice(2));
if (typeof options === "string") {
  console.error(`bench: ${options}`);
  process.exit(2);
}
// scripts/bench.sh did it; looking again, and waiting for it, is no part of what is measured.
process.env.BERTH_NO_SETUP = "1";
heedSignals();
if (options.installPeers) installPeers();
process.exitCode = await bench(options, availablePeers(!options.withoutPeers));

/** Measures and reports; the exit code. What was started is gone afterwards, and what was measured is reported in any case. */
async function bench({ parts }: Options, peers: AvailablePeers): Promise<number> {
  for (const [name, reason] of Object.entries(peers.absent))
    console.error(`bench: WITHOUT ${name}, which ${reason}`);
  const began = Date.now();
  const directory = mkdtempSync(join(tmpdir(), "berth-bench-"));
  const rows: Row[] = [];
  const others: Record<string, unknown> = {};
  let ended: unknown;
  try {
    const archive = makeRootArchive(directory);
    await using launcher = await BareLauncher.start(join(directory, "floor"), archive);
    const rig: Rig = { launcher, directory };
    const only = process.env.BENCH_ONLY ?? "";
    const setting = { ...peers, rig, directory, archive, only, measured: (row: Row) => void rows.push(row) };
    for (const groups of GROUPS)
      await benchGroups(
        groups.filter(({ part }) => parts.has(part)),
        setting,
      );
    if (parts.has("images")) rows.push(...(await benchImages(directory, setting)));
    if (parts.has("runtimes")) rows.push(...(await benchRuntimes(directory, archive, setting)));
    if (parts.has("drivers")) others.drivers = await benchDrivers();
    if (parts.has("stages")) others.stages = await benchStages(directory, archive);
    if (parts.has("many")) others.many = await benchMany(directory, archive, peers.starters);
  } catch (error) {
    ended = error;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const machine = {
    kernel: release(),
    cores: cpus().length,
    processor: cpus()[0]?.model ?? "not known",
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: { ...peers.versions, node: process.version },
    absent: peers.absent,
  };
  const seconds = Math.round((Date.now() - began) / 1000);
  const complete = ended === undefined;
  const file = process.env.BENCH_FILE ?? join(ROOT, "build/bench.json");
  mkdirSync(dirname(file), { recursive: true });
  const results = { began: new Date(began).toISOString(), seconds, complete, machine, rows, ...others };
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  report(rows, machine, seconds, peers.absent);
  if (ended instanceof Interrupted) return 130;
  if (ended !== undefined) throw ended;
  return rows.every((row) => row.met && row.missing[BERTH] === undefined) ? 0 : 1;
}

function report(
  rows: readonly Row[],
  machine: {
    kernel: string;
    cores: number;
    processor: string;
    memory: string;
    versions: Record<string, string>;
  },
  seconds: number,
  absent: Readonly<Record<string, string>>,
): void {
  if (rows.length > 0) for (const line of reportLines(rows)) console.log(line);
  const { kernel, cores, processor, memory, versions } = machine;
  console.log(
    `\nLinux ${kernel}, ${cores} × ${processor}, ${memory}; measured in ${Math.ceil(seconds / 60)} min`,
  );
  for (const [program, version] of Object.entries(versions)) console.log(`  ${program}: ${version}`);
  for (const [name, reason] of Object.entries(absent)) console.log(`  WITHOUT ${name}, which ${reason}`);
}
