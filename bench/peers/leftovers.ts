/** The end of an engine: what an interrupted measurement left running in it, and mounted. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { call, inParallel, remove } from "../clients/engine-api.ts";
import type { Peer } from "./peer-types.ts";
import { tree } from "./processes.ts";

/** Only a hang takes so long, ms. */
const PATIENCE_MS = 60_000;

/** Removes what runs; nothing happens if the engine does not answer any more. */
export async function removeRunning(peer: Pick<Peer, "socket">): Promise<void> {
  const removed = (async () => {
    const running = (await call(peer, "GET", "/containers/json")) as { Id: string }[];
    await inParallel(running.length, 16, (n) => remove(peer, running[n]?.Id ?? ""));
  })().catch(() => undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, PATIENCE_MS);
  await Promise.race([removed, promise]);
  clearTimeout(timer);
}

/** Ends processes with all below them. */
export function killTrees(pids: readonly number[]): void {
  for (const pid of pids.flatMap(tree)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended with the one before.
    }
  }
}

/** Takes away all mounts below a directory. */
export function unmountBelow(directory: string): void {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.reverse()) spawnSync("umount", ["-l", "-q", point]);
}
