/**
 * The name server at 127.0.0.11 from inside a container on a user's network: questions about containers, by Debian's
 * dnsperf in the container's namespace.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Case, docker, IMAGE } from "./cases.ts";
import type { Peer } from "./peer.ts";

const run = promisify(execFile);

/** How long dnsperf asks, seconds, and how many questions wait for their answers at a time. */
const SECONDS = "2";
const OUTSTANDING = "100";
/** A figure is the time for so many questions. */
const QUESTIONS = 10_000;

export const DNS_CASES: Case[] = [
  {
    name: "10,000 questions for a container's name, UDP",
    unit: "ms",
    runs: 5,
    budget: 1 / 3,
    measure: (peer) => ask(peer, "web A\nweb AAAA\n", "udp"),
  },
  {
    name: "10,000 questions for a container's name, TCP",
    unit: "ms",
    runs: 3,
    measure: (peer) => ask(peer, "web A\n", "tcp"),
  },
  {
    name: "10,000 reverse questions, UDP",
    unit: "ms",
    runs: 3,
    budget: 1 / 3,
    measure: (peer) => ask(peer, undefined, "udp"),
  },
];

/** `questions` as dnsperf reads them; undefined for the reverse of the container's address. */
async function ask(peer: Peer, questions: string | undefined, mode: string): Promise<number> {
  const network = `bench-names-${process.pid}`;
  const directory = mkdtempSync(join(tmpdir(), "berth-bench-dns-"));
  await docker(peer, "network", "create", "--subnet", "172.29.0.0/24", network);
  const containers: string[] = [];
  try {
    const options = ["run", "-d", "--network", network];
    containers.push(await docker(peer, ...options, "--network-alias", "web", IMAGE, "sleep", "60"));
    const asking = await docker(peer, ...options, IMAGE, "sleep", "60");
    containers.push(asking);
    const pid = await docker(peer, "inspect", "-f", "{{.State.Pid}}", asking);
    const file = join(directory, "questions");
    writeFileSync(file, questions ?? "2.0.29.172.in-addr.arpa PTR\n");
    const dnsperf = ["-s", "127.0.0.11", "-d", file, "-l", SECONDS, "-q", OUTSTANDING, "-m", mode];
    const { stdout } = await run("nsenter", ["-t", pid, "-n", "dnsperf", ...dnsperf]);
    const rate = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1]);
    if (!(rate > 0) || !/NOERROR \d+ \(100\.00%\)/.test(stdout)) throw new Error(`dnsperf: ${stdout}`);
    return (QUESTIONS / rate) * 1000;
  } finally {
    if (containers.length > 0) await docker(peer, "rm", "-f", ...containers);
    await docker(peer, "network", "rm", network);
    rmSync(directory, { recursive: true, force: true });
  }
}
