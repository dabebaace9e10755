/** One container that writes as fast as it can: how much of it gets into the log in a second, and who notices. */
import { setTimeout as sleep } from "node:timers/promises";
import { LINES } from "../busybox-root.ts";
import type { Case, Rig } from "../case-types.ts";
import { callForText, create, remove, start, timed } from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";
import { quantile } from "../statistics.ts";

/** The peers write less of it: enough for a rate. */
const LONG: Loudness = { file: LINES[80], megabytes: { berth: 128, others: 64 } };
const SHORT: Loudness = { file: LINES[2], megabytes: { berth: 8, others: 1 } };
/** Between two requests, ms. */
const PAUSE_MS = 5;

interface Loudness {
  /** A megabyte of lines. */
  file: string;
  megabytes: { berth: number; others: number };
}

/** podman's word for a file per container in its own form, which is what it writes by itself. */
const driverOf = (peer: Peer, driver: string) => (peer.name === "podman" ? "k8s-file" : driver);

export const LOG_CASES: Case[] = [
  throughput("lines of 80 into json-file", "json-file", LONG, 5, 5),
  throughput("lines of 2 into json-file", "json-file", SHORT, 3, 2),
  { ...throughput("lines of 80 into local", "local", LONG, 3, 2), without: { podman: "has no such log" } },
  {
    name: "API latency while a container is loud, p99",
    unit: "ms",
    runs: 5,
    bound: 20,
    measure: async (peer) => {
      const latencies: number[] = [];
      await loud(peer, "json-file", LONG, latencies);
      return quantile(latencies, 0.99);
    },
  },
];

function throughput(
  name: string,
  driver: "json-file" | "local",
  written: Loudness,
  runs: number,
  budget: number,
): Case {
  return {
    name: `output of a container, ${name}`,
    unit: "MB/s",
    more: true,
    runs,
    budget,
    note: "from the start of the container to its end, which comes when all is in the log; podman into its k8s-file; Berth writes 128 MB in long lines or 8 in short ones, dockerd and podman 64 or 1",
    measure: async (peer) => rate(sizeOn(peer, written), await loud(peer, driver, written)),
    floor: (rig) => bareOutput(rig, written, driver),
  };
}

const sizeOn = (peer: Peer, { megabytes }: Loudness) =>
  peer.name === "berth" ? megabytes.berth : megabytes.others;

const command = ({ file }: Loudness, megabytes: number) => ["cat", ...Array<string>(megabytes).fill(file)];

/** From the start of the container to its end, ms; into `latencies` how long the API took for lists meanwhile. */
async function loud(peer: Peer, driver: string, written: Loudness, latencies?: number[]): Promise<number> {
  const id = await create(peer, command(written, sizeOn(peer, written)), {
    HostConfig: { NetworkMode: "none", LogConfig: { Type: driverOf(peer, driver), Config: {} } },
  });
  let running = latencies !== undefined;
  const watching = (async () => {
    while (running) {
      latencies?.push(await timed(() => callForText(peer, "GET", "/containers/json")));
      await sleep(PAUSE_MS);
    }
  })();
  try {
    return await timed(async () => {
      await start(peer, id);
      await callForText(peer, "POST", `/containers/${id}/wait`);
    });
  } finally {
    running = false;
    await watching;
    await remove(peer, id);
  }
}

/** The shim writes, and nobody is above it. */
async function bareOutput({ launcher }: Rig, written: Loudness, log: "json-file" | "local"): Promise<number> {
  const size = written.megabytes.berth;
  const prepared = launcher.prepare(command(written, size), { log });
  const took = await timed(async () => {
    const { shim } = await launcher.launch(prepared);
    await shim.exited;
  });
  await launcher.end(prepared);
  return rate(size, took);
}

function rate(megabytes: number, milliseconds: number): number {
  return megabytes / (milliseconds / 1000);
}
