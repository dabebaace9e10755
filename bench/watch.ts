/** What one piece of work costs an engine: wall time, peak memory, and how long its API lets others wait meanwhile. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "./peers/peer-types.ts";
import { quantile } from "./statistics.ts";

export interface Cost {
  /** Milliseconds. */
  wall: number;
  /** Highest resident memory of the daemon's processes while it ran, MiB. */
  peak: number;
  /** Of the API's answers, milliseconds; the 99th percentile. */
  latency: number;
}

export async function watched(peer: Peer, work: () => Promise<unknown>): Promise<Cost> {
  const processes = peer.daemonProcesses();
  const probe = fork(join(import.meta.dirname, "latency-probe.ts"), [peer.socket], {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  try {
    await once(probe, "message");
    // "5" sets the peak to what it is now (proc_pid_clear_refs(5)).
    for (const pid of processes) writeFileSync(`/proc/${pid}/clear_refs`, "5");
    const begun = performance.now();
    await work();
    const wall = performance.now() - begun;
    const answer = once(probe, "message");
    probe.send("stop");
    const [{ latencies }] = (await answer) as [{ latencies: number[] }];
    const peak = processes.reduce((sum, pid) => sum + peakOf(pid), 0) / 1024;
    return { wall, peak, latency: quantile(latencies, 0.99) };
  } finally {
    probe.kill();
  }
}

/** KiB. */
function peakOf(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}
