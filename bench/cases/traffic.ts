/**
 * What goes through a published port, from a host beside the engine's and from the engine's host itself: Debian's iperf3, nginx
 * and wrk in the namespaces of containers and hosts. Without an engine, the server is on the engine's host itself.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case } from "../case-types.ts";
import { call, create, pidOf, remove, start } from "../clients/engine-api.ts";
import { BenchHost, inNetwork, serve } from "../peers/bench-host.ts";
import type { Peer } from "../peers/peer-types.ts";

/** Where servers listen in their containers. */
export const PORT = 8080;
/** How long one run of iperf3 or wrk lasts, seconds: short, so that all meet the same load of the machine. */
const SECONDS = 1;
const RUNS = 7;
const LEVEL =
  "packets take the same way through the kernel's translation; what is left is chance, and the rules before it";

type From = "a neighbour" | "loopback";

export const TRAFFIC_CASES: Case[] = (["a neighbour", "loopback"] as const).flatMap((from) => [
  through(`published port, stream from ${from}`, "MB/s", from, stream),
  through(`published port, requests from ${from}`, "/s", from, requests),
  through(`published port, a connection for each request, ${from}`, "/s", from, connections),
]);

function through(
  name: string,
  unit: "MB/s" | "/s",
  from: From,
  measure: (path: Path) => Promise<number>,
): Case {
  return {
    name,
    unit,
    more: true,
    runs: RUNS,
    // The same way through the kernel: level, but for noise.
    budget: 0.95,
    why: LEVEL,
    measure: (peer) => throughPort(peer, from, measure),
    floor: () => withoutEngine(from, measure),
  };
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
  const id = await create(peer, ["sleep", "3600"], published());
  try {
    await start(peer, id);
    const pid = await pidOf(peer, id);
    const port = await hostPort(peer, id);
    const { address, networkPath, neighbourPath } = peer.host;
    return await measure({
      pid,
      port,
      address: from === "loopback" ? "127.0.0.1" : address,
      ask: (...command) => inNetwork(from === "loopback" ? networkPath : neighbourPath, ...command),
    });
  } finally {
    await remove(peer, id);
  }
}

/** A container's body and settings that publish its port on a free one. */
export function published() {
  const HostConfig = { NetworkMode: "bridge", PortBindings: { [`${PORT}/tcp`]: [{ HostPort: "" }] } };
  return { HostConfig, body: { ExposedPorts: { [`${PORT}/tcp`]: {} } } };
}

async function hostPort(peer: Peer, id: string): Promise<number> {
  const { NetworkSettings } = (await call(peer, "GET", `/containers/${id}/json`)) as {
    NetworkSettings: { Ports: Record<string, { HostPort: string }[] | null> };
  };
  const port = Number(NetworkSettings.Ports[`${PORT}/tcp`]?.[0]?.HostPort);
  if (!(port > 0)) throw new Error(`${peer.name} publishes nothing`);
  return port;
}

/** The server where packets arrive, and nothing that translates them. */
async function withoutEngine(from: From, measure: (path: Path) => Promise<number>): Promise<number> {
  const host = await BenchHost.make();
  try {
    const { networkPath, neighbourPath, address, pid } = host;
    return await measure({
      pid,
      port: PORT,
      address: from === "loopback" ? "127.0.0.1" : address,
      ask: (...command) => inNetwork(from === "loopback" ? networkPath : neighbourPath, ...command),
    });
  } finally {
    host.end();
  }
}

/** MB a second into the container, by iperf3. */
async function stream({ pid, address, port, ask }: Path): Promise<number> {
  const end = await serve(pid, PORT, "iperf3", "-s", "-p", String(PORT));
  try {
    const output = await ask("iperf3", "-J", "-c", address, "-p", String(port), "-t", String(SECONDS));
    const rate = Number(JSON.parse(output).end.sum_received.bits_per_second) / 8;
    if (!(rate > 0)) throw new Error(`iperf3: ${output}`);
    return rate / 1e6;
  } finally {
    await end();
  }
}

/** Answers of nginx a second, by wrk with 32 connections. */
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
    return rate;
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
