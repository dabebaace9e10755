/**
 * `npm run bench -- many`: a thousand containers running at once, and dockerd's curve as far as it was followed. Writes
 * build/many.json and build/many.svg; prints the same as text. BENCH_MANY and BENCH_MANY_PEER: how many.
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { cli } from "../clients/command-line.ts";
import { IMAGE } from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";
import { median } from "../statistics.ts";
import { printTable } from "../table.ts";
import { type Chart, smoothed, svgOf, textOf } from "./drawing.ts";
import { type Many, type Memory, measureMany } from "./measure-many.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const COUNT = Number(process.env.BENCH_MANY ?? 1000);
/** Enough for the beginning of a curve; a thousand would take a quarter of an hour. */
const PEER_COUNT = Number(process.env.BENCH_MANY_PEER ?? 50);
/** Starts that one point of a curve is the median of. */
const SMOOTH = 25;
const KIB_IN_MIB = 1024;

type Starter = (directory: string) => Promise<Peer>;

/** One engine after the other, each alone. Answers what was measured; `left` of each tells whether it cleaned up. */
export async function benchMany(
  directory: string,
  archive: string,
  starters: Readonly<Record<string, Starter>>,
): Promise<Many[]> {
  const results: Many[] = [];
  for (const name of ["berth", "dockerd"]) {
    const starter = starters[name];
    if (starter === undefined) continue;
    const peer = await starter(join(directory, `many-${name}`));
    try {
      await cli(peer, "import", "-c", "ENV PATH=/bin", archive, IMAGE);
      results.push(await measureMany(peer, name === "berth" ? COUNT : PEER_COUNT));
    } finally {
      await peer.stop();
    }
  }
  writeFileSync(join(ROOT, "build/many.json"), `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(join(ROOT, "build/many.svg"), svgOf(chartsOf(results)));
  report(results);
  return results;
}

function chartsOf(results: readonly Many[]): Chart[] {
  const starts = results.map(({ engine, starts }) => ({
    name: engine,
    points: smoothed(starts, Math.min(SMOOTH, Math.max(1, starts.length >> 1))),
    dots: starts.map((time, n) => [n + 1, time] as const),
  }));
  const curve = (name: string, memory: readonly Memory[], of: (one: Memory) => number) => ({
    name,
    points: memory.map((one) => [one.containers, of(one) / KIB_IN_MIB] as const),
  });
  const charts: Chart[] = [{ title: "Start of one more container", unit: "ms", curves: starts }];
  const [berth] = results;
  if (berth !== undefined)
    charts.push({ ...charts[0], title: "The same, Berth alone", unit: "ms", curves: starts.slice(0, 1) });
  charts.push({
    title: "Processor time of the daemon for one more container",
    unit: "ms",
    curves: results.map(({ engine, processor }) => ({
      name: engine,
      points: processor.map(({ containers, each }) => [containers, each] as const),
    })),
  });
  if (berth !== undefined)
    charts.push({
      title: "Memory, Berth",
      unit: "MiB",
      curves: [
        curve("daemon", berth.memory, ({ daemon }) => daemon),
        curve("shims, together", berth.memory, ({ others }) => others),
        curve("kernel", berth.memory, ({ kernel }) => kernel),
      ],
    });
  charts.push({
    title: "Memory of daemons and shims",
    unit: "MiB",
    curves: results.map(({ engine, memory }) =>
      curve(engine, memory, ({ daemon, others }) => daemon + others),
    ),
  });
  return charts;
}

function report(results: readonly Many[]): void {
  for (const chart of chartsOf(results)) console.log(`\n${textOf(chart).join("\n")}`);
  for (const { engine, starts, creates, memory, asked, removal, left } of results) {
    const count = starts.length;
    const part = Math.max(1, Math.floor(count / 10));
    const growth = (of: (one: Memory) => number) => {
      const [first, last] = [memory[0], memory.at(-1)];
      return first && last ? ((of(last) - of(first)) / count).toFixed(0) : "";
    };
    console.log(`\n${engine}, ${count} containers`);
    printTable([
      ["", "the first tenth", "the last tenth"],
      ["create, ms", ...ends(creates, part)],
      ["start, ms", ...ends(starts, part)],
      ["", "one container", `${count} containers`],
      ...Object.entries(asked).map(([what, times]) => [
        `${what}, ms`,
        ...times.map((time) => time.toFixed(1)),
      ]),
    ]);
    const daemon = growth((one) => one.daemon);
    const shims = growth((one) => one.others);
    const kernel = growth((one) => one.kernel);
    console.log(`each container: daemon ${daemon} KiB, shim ${shims} KiB, kernel ${kernel} KiB`);
    console.log(`removed in ${removal.toFixed(1)} s; left behind: ${left.join("; ") || "nothing"}`);
  }
}

function ends(times: readonly number[], part: number): string[] {
  return [times.slice(0, part), times.slice(-part)].map((some) => median(some).toFixed(1));
}
