/**
 * What a network and a published port cost a container's start, alone and with hundreds of others on the same bridge, and
 * what goes through a published port: from a host beside this one (neighbour.ts) and from this host's own loopback.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inNetwork, serve } from "./bench-host.ts";
import { type Case, call, docker, IMAGE, timed } from "./cases.ts";
import type { Peer } from "./peer.ts";
import { median } from "./statistics.ts";

/** Where servers listen in their containers. */
const PORT = 8080;
/** How long one run of iperf3 or wrk lasts, seconds: short, so that both meet the same load of the machine. */
const SECONDS = 1;
/** Figures are the time for so much. */
const REQUESTS = 10_000;
const GIGABYTE = 1e9;
/**
 * Containers on one bridge, started one after the other, and how many of them are the first and the last. BENCH_MANY, where
 * dockerd would take a quarter of an hour for them.
 */
const MANY = Number(process.env.BENCH_MANY ?? 500);
const FEW = 50;

type From = "a neighbour" | "loopback";

export const NETWORK_CASES: Case[] = [
  {
    name: "API start: what a bridge and a published port add",
    unit: "ms",
    runs: 25,
    budget: 1 / 4,
    measure: publishingCost,
  },
  ...(["a neighbour", "loopback"] as const).flatMap((from): Case[] => [
    {
      name: `1 GB through a published port from ${from}`,
      unit: "ms",
      runs: 9,
      budget: 1,
      measure: (peer) => throughPort(peer, from, gigabyte),
    },
    {
      name: `10,000 requests to a published port from ${from}`,
      unit: "ms",
      runs: 9,
      budget: 1,
      measure: (peer) => throughPort(peer, from, requests),
    },
    {
      name: `10,000 requests, each a connection, from ${from}`,
      unit: "ms",
      runs: 9,
      budget: 1,
      measure: (peer) => throughPort(peer, from, connections),
    },
  ]),
  {
    name: `start of one of the first ${FEW} on a bridge`,
    unit: "ms",
    runs: 1,
    measure: async (peer) => median((await manyStarts(peer)).slice(0, FEW)),
  },
  {
    name: `start of one of the last ${FEW} of ${MANY} on a bridge`,
    unit: "ms",
    runs: 1,
    measure: async (peer) => median((await manyStarts(peer)).slice(-FEW)),
  },
];

/** A start with a bridge and a port less one without any network, ms. */
async function publishingCost(peer: Peer): Promise<number> {
  const without = await oneStart(peer, { NetworkMode: "none" });
  const published = { [`${PORT}/tcp`]: [{ HostPort: "" }] };
  return (await oneStart(peer, { NetworkMode: "bridge", PortBindings: published })) - without;
}

async function oneStart(peer: Peer, HostConfig: Record<string, unknown>): Promise<number> {
  const id = await create(peer, HostConfig);
  try {
    return await timed(() => call(peer, "POST", `/containers/${id}/start`));
  } finally {
    await call(peer, "DELETE", `/containers/${id}?force=1`);
  }
}

async function create(peer: Peer, HostConfig: Record<string, unknown>): Promise<string> {
  const ExposedPorts = { [`${PORT}/tcp`]: {} };
  const body = { Image: IMAGE, Cmd: ["sleep", "3600"], ExposedPorts, HostConfig };
  return ((await call(peer, "POST", "/containers/create", body)) as { Id: string }).Id;
}

interface Path {
  /** Of the container. */
  pid: number;
  /** Where its port is published. */
  address: string;
  port: number;
  /** Runs a client. */
  ask(...command: string[]): Promise<string>;
}

/** With a container that publishes a port, and a client at its place. */
async function throughPort(
  peer: Peer,
  from: From,
  measure: (path: Path) => Promise<number>,
): Promise<number> {
  if (peer.host === undefined) throw new Error(`${peer.name} has no neighbour`);
  const id = await docker(peer, "run", "-d", "-p", String(PORT), IMAGE, "sleep", "3600");
  try {
    const pid = Number(await docker(peer, "inspect", "-f", "{{.State.Pid}}", id));
    const port = Number(/:(\d+)$/m.exec(await docker(peer, "port", id, String(PORT)))?.[1]);
    const { address, networkPath, neighbourPath } = peer.host;
    return await measure({
      pid,
      port,
      address: from === "loopback" ? "127.0.0.1" : address,
      ask: (...command) => inNetwork(from === "loopback" ? networkPath : neighbourPath, ...command),
    });
  } finally {
    await docker(peer, "rm", "-f", id);
  }
}

/** Milliseconds for 10^9 bytes into the container, by iperf3. */
async function gigabyte({ pid, address, port, ask }: Path): Promise<number> {
  const end = await serve(pid, PORT, "iperf3", "-s", "-p", String(PORT));
  try {
    const output = await ask("iperf3", "-J", "-c", address, "-p", String(port), "-t", String(SECONDS));
    const rate = Number(JSON.parse(output).end.sum_received.bits_per_second) / 8;
    if (!(rate > 0)) throw new Error(`iperf3: ${output}`);
    return (GIGABYTE / rate) * 1000;
  } finally {
    await end();
  }
}

/** Milliseconds for 10,000 answers of nginx, by wrk with 32 connections. */
async function requests(path: Path, ...options: string[]): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "berth-bench-nginx-"));
  const config = join(directory, "nginx.conf");
  writeFileSync(config, nginxConfig(directory));
  const server = ["nginx", "-p", directory, "-e", join(directory, "error.log"), "-c", config];
  const end = await serve(path.pid, PORT, ...server);
  try {
    const url = `http://${path.address}:${path.port}/`;
    const output = await path.ask("wrk", "-t", "1", "-c", "32", "-d", `${SECONDS}s`, ...options, url);
    const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]);
    if (!(rate > 0) || /Non-2xx/.test(output)) throw new Error(`wrk: ${output}`);
    return (REQUESTS / rate) * 1000;
  } finally {
    await end();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The same, with a connection for each. */
function connections(path: Path): Promise<number> {
  return requests(path, "-H", "Connection: close");
}

function nginxConfig(directory: string): string {
  return `
    daemon off; worker_processes 1; user root; pid ${directory}/pid;
    events { worker_connections 1024; }
    http {
      access_log off; keepalive_requests 1000000000;
      client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
      fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
      server { listen ${PORT}; location / { return 200 "answered\\n"; } }
    }`;
}

const starts = new Map<string, Promise<number[]>>();

/** The starts of 500 containers on the default bridge, one after the other, each with a port; measured once. */
function manyStarts(peer: Peer): Promise<number[]> {
  const known = starts.get(peer.name) ?? startMany(peer);
  starts.set(peer.name, known);
  return known;
}

async function startMany(peer: Peer): Promise<number[]> {
  const ids: string[] = [];
  try {
    const took: number[] = [];
    for (let n = 0; n < MANY; n++) {
      const id = await create(peer, { PortBindings: { [`${PORT}/tcp`]: [{ HostPort: "" }] } });
      ids.push(id);
      took.push(await timed(() => call(peer, "POST", `/containers/${id}/start`)));
    }
    return took;
  } finally {
    for (const id of ids) await call(peer, "DELETE", `/containers/${id}?force=1`);
  }
}
