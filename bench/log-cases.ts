/** One container that writes as fast as it can: how long its output takes into the log, and who notices. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Case, call, docker, IMAGE } from "./cases.ts";
import type { Peer } from "./peer.ts";
import { quantile } from "./statistics.ts";

/** 64 MB in lines of eighty characters; 8 MB in lines of one. */
const LONG_LINES = `yes ${"0123456789".repeat(8).slice(1)} | head -c 64000000`;
const SHORT_LINES = "yes | head -c 8000000";
/** Between two requests, ms. */
const PAUSE = 5;

export const LOG_CASES: Case[] = [
  {
    name: "64 MB of output in lines of 80 into json-file",
    unit: "ms",
    runs: 5,
    budget: 1 / 2,
    measure: async (peer) => (await loud(peer, "json-file", LONG_LINES)).took,
  },
  {
    name: "8 MB of output in lines of 2 into json-file",
    unit: "ms",
    runs: 3,
    budget: 1 / 2,
    measure: async (peer) => (await loud(peer, "json-file", SHORT_LINES)).took,
  },
  {
    name: "64 MB of output in lines of 80 into local",
    unit: "ms",
    runs: 3,
    budget: 1 / 2,
    measure: async (peer) => (await loud(peer, "local", LONG_LINES)).took,
  },
  {
    name: "API latency while a container is loud, p99",
    unit: "ms",
    runs: 5,
    bound: 20,
    measure: async (peer) => quantile((await loud(peer, "json-file", LONG_LINES)).latencies, 0.99),
  },
];

/** Start to end of the container, and how long the API took for a list of containers meanwhile, ms. */
async function loud(
  peer: Peer,
  driver: string,
  script: string,
): Promise<{ took: number; latencies: number[] }> {
  const options = ["--network", "none", "--log-driver", driver];
  const id = await docker(peer, "create", ...options, IMAGE, "sh", "-c", script);
  const latencies: number[] = [];
  let running = true;
  const watching = (async () => {
    while (running) {
      const asked = performance.now();
      await call(peer, "GET", "/containers/json");
      latencies.push(performance.now() - asked);
      await sleep(PAUSE);
    }
  })();
  try {
    const began = performance.now();
    await call(peer, "POST", `/containers/${id}/start`);
    await call(peer, "POST", `/containers/${id}/wait`);
    return { took: performance.now() - began, latencies };
  } finally {
    running = false;
    await watching;
    await docker(peer, "rm", "-f", id);
  }
}
