/**
 * The name server at 127.0.0.11 from inside a container on a user's network: questions about containers, by Debian's
 * dnsperf in the container's namespace.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Case, Rig } from "../case-types.ts";
import { cli } from "../clients/command-line.ts";
import { IMAGE } from "../clients/engine-api.ts";
import type { Peer } from "../peers/peer-types.ts";

const run = promisify(execFile);

/** How long dnsperf asks, seconds, and how many questions wait for their answers at a time. */
const SECONDS = "2";
const OUTSTANDING = "100";
const REVERSE = "2.0.29.172.in-addr.arpa PTR\n";
const WITHOUT = { podman: "Debian's CNI plugins bring no name server" };

export const NAME_CASES: Case[] = [
  questions("questions for a container's name, UDP", "web A\nweb AAAA\n", "udp", 5, 3),
  questions("questions for a container's name, TCP", "web A\n", "tcp", 3),
  questions("reverse questions, UDP", REVERSE, "udp", 3, 3),
];

function questions(name: string, asked: string, mode: "udp" | "tcp", runs: number, budget?: number): Case {
  return {
    name,
    unit: "/s",
    more: true,
    runs,
    without: WITHOUT,
    ...(budget !== undefined && { budget }),
    measure: (peer) => ask(peer, asked, mode),
    // By TCP a connection's cost depends on how many questions share it, which is the server's to say.
    ...(mode === "udp" && { floor: (rig: Rig) => bareAnswers(rig, asked) }),
  };
}

/** `asked`: as dnsperf reads it. */
async function ask(peer: Peer, asked: string, mode: string): Promise<number> {
  const network = `bench-names-${process.pid}`;
  await cli(peer, "network", "create", "--subnet", "172.29.0.0/24", network);
  const containers: string[] = [];
  try {
    const options = ["run", "-d", "--network", network];
    containers.push(await cli(peer, ...options, "--network-alias", "web", IMAGE, "sleep", "60"));
    const asking = await cli(peer, ...options, IMAGE, "sleep", "60");
    containers.push(asking);
    const pid = await cli(peer, "inspect", "-f", "{{.State.Pid}}", asking);
    return await dnsperf(asked, ["nsenter", "-t", pid, "-n"], ["-s", "127.0.0.11", "-m", mode]);
  } finally {
    if (containers.length > 0) await cli(peer, "rm", "-f", ...containers);
    await cli(peer, "network", "rm", network);
  }
}

/** Questions a second; `through` runs it at its place. */
async function dnsperf(
  asked: string,
  through: readonly string[],
  options: readonly string[],
): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "berth-bench-dns-"));
  try {
    const file = join(directory, "questions");
    writeFileSync(file, asked);
    const [command = "", ...args] = [...through, "dnsperf", ...options];
    const { stdout } = await run(command, [...args, "-d", file, "-l", SECONDS, "-q", OUTSTANDING]);
    const rate = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1]);
    if (!(rate > 0) || !/NOERROR \d+ \(100\.00%\)/.test(stdout)) throw new Error(`dnsperf: ${stdout}`);
    return rate;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** By a program that looks at nothing. */
async function bareAnswers({ directory }: Rig, asked: string): Promise<number> {
  const program = join(directory, "udp-answer");
  execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "../floors/udp-answer.c")]);
  const server = spawn(program, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [port] = (await once(server.stdout, "data")) as [Buffer];
    return await dnsperf(asked, [], ["-s", "127.0.0.1", "-p", port.toString().trim(), "-m", "udp"]);
  } finally {
    server.kill("SIGKILL");
  }
}
