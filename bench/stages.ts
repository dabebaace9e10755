/**
 * Where the time between the first request for a container and its removal goes: what a client waits for each request, and
 * the stages the daemon keeps the times of (`berth debug timings`). With an idle gap before each cycle.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cli } from "./clients/command-line.ts";
import { call, IMAGE } from "./clients/engine-api.ts";
import { checkInterrupted } from "./interruption.ts";
import { GAP_MS } from "./measure.ts";
import { startBerth } from "./peers/berth.ts";
import type { Peer } from "./peers/peer-types.ts";
import { median, quantile } from "./statistics.ts";
import { printTable } from "./table.ts";

const RUNS = 60;
/** The first ones meet code that has never run. */
const UNMEASURED = 10;

/** An answer of GET /berth/containers/{id}/timings. */
interface StageTime {
  operation: string;
  stage: string;
  milliseconds: number;
}

export interface StageRow {
  who: string;
  stage: string;
  /** Milliseconds. */
  values: number[];
}

/** Measures and prints. `archive`: the root of the image. */
export async function benchStages(directory: string, archive: string): Promise<StageRow[]> {
  const peer = await startBerth(join(directory, "stages"));
  const rows = new Map<string, StageRow>();
  const note = (who: string, stage: string, milliseconds: number) => {
    const key = `${who} ${stage}`;
    const row = rows.get(key) ?? { who, stage, values: [] };
    row.values.push(milliseconds);
    rows.set(key, row);
  };
  try {
    await cli(peer, "import", "-c", "ENV PATH=/bin", archive, IMAGE);
    for (let run = -UNMEASURED; run < RUNS; run++) {
      checkInterrupted();
      await sleep(GAP_MS);
      await cycle(peer, run < 0 ? () => undefined : note);
    }
  } finally {
    await peer.stop();
  }
  const all = [...rows.values()];
  const cell = (value: number) => value.toFixed(2).padStart(7);
  printTable([
    ["who", " lowest", " median", "    p95", "ms for"],
    ...all.map(({ who, stage, values }) => [
      who,
      cell(Math.min(...values)),
      cell(median(values)),
      cell(quantile(values, 0.95)),
      stage,
    ]),
  ]);
  return all;
}

async function cycle(peer: Peer, note: (who: string, stage: string, milliseconds: number) => void) {
  const timed = async (stage: string, method: string, path: string, body?: unknown) => {
    const begun = performance.now();
    const answer = await call(peer, method, path, body);
    note("client", stage, performance.now() - begun);
    return answer;
  };
  // What any request takes after a pause: connection, parser, router, and the client's own share.
  await timed("a request about nothing (/version)", "GET", "/version");
  const body = { Image: IMAGE, Cmd: ["true"] };
  const { Id } = (await timed("create, answered", "POST", "/containers/create", body)) as { Id: string };
  await timed("start, answered", "POST", `/containers/${Id}/start`);
  await timed("wait, answered", "POST", `/containers/${Id}/wait`);
  const stages = (await call(peer, "GET", `/berth/containers/${Id}/timings`)) as StageTime[];
  await timed("remove, answered", "DELETE", `/containers/${Id}`);
  for (const { operation, stage, milliseconds } of stages) note(operation, stage, milliseconds);
}
