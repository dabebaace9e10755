/** The command line of an engine's users: Docker's for those that have its API, podman's own. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Client, Peer } from "../peers/peer-types.ts";

const run = promisify(execFile);
/** Only a hang takes so long. */
const PATIENCE_MS = 300_000;

/** Runs it; answers what it printed. */
export function cli(peer: Pick<Peer, "client">, ...args: string[]): Promise<string> {
  return runClient(peer.client, ...args);
}

export async function runClient({ words, env }: Client, ...args: string[]): Promise<string> {
  const [command = "", ...rest] = [...words, ...args];
  const { stdout } = await run(command, rest, {
    env,
    maxBuffer: 1 << 26,
    timeout: PATIENCE_MS,
    killSignal: "SIGKILL",
  });
  return stdout.trim();
}

/** The same command line so many times at once, started by a shell: this process would take longer to start them than they run. */
export async function clientsAtOnce(
  { client }: Pick<Peer, "client">,
  count: number,
  ...args: string[]
): Promise<void> {
  const script = 'n=$1; shift; while [ $n -gt 0 ]; do "$@" & n=$((n - 1)); done; wait';
  await run("sh", ["-c", script, "sh", String(count), ...client.words, ...args], {
    env: client.env,
    timeout: PATIENCE_MS,
    killSignal: "SIGKILL",
  });
}
