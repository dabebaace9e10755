/** Requests to an engine's API, as a client makes them that keeps its connections. */
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Peer } from "../peers/peer-types.ts";

/** Until a second attempt. */
const AGAIN_MS = 500;

export const IMAGE = "bench-busybox";

const agent = new Agent({ keepAlive: true });

type Listening = Pick<Peer, "socket">;

/** A request; its answer, parsed. Throws what the engine says if it refuses. */
export async function call(peer: Listening, method: string, path: string, body?: unknown): Promise<unknown> {
  const text = await callForText(peer, method, path, body);
  return text === "" ? undefined : JSON.parse(text);
}

/** The same, not parsed: what takes the client no time. */
export function callForText(peer: Listening, method: string, path: string, body?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const sent = request({ agent, socketPath: peer.socket, method, path, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if ((answer.statusCode ?? 500) < 400) resolve(text);
        else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text.trim()}`));
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A request that takes the connection over; the connection, and what came with the answer. */
export function upgrade(
  peer: Listening,
  path: string,
  body?: unknown,
): Promise<{ socket: Socket; head: Buffer }> {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json", Connection: "Upgrade", Upgrade: "tcp" };
    const sent = request({ socketPath: peer.socket, method: "POST", path, headers, agent: false });
    sent.on("upgrade", (_answer, socket, head) => resolve({ socket: socket as Socket, head }));
    sent.on("response", (answer) => {
      answer.resume();
      reject(new Error(`POST ${path}: ${answer.statusCode}`));
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** All that comes by a connection that was taken over. */
export async function hijacked(peer: Listening, path: string, body: unknown): Promise<string> {
  const { socket, head } = await upgrade(peer, path, body);
  return new Promise((resolve, reject) => {
    const chunks = [head];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => {
      socket.end();
      resolve(Buffer.concat(chunks).toString());
    });
    socket.on("error", reject);
  });
}

/** A container of the benchmark's image; its id. */
export async function create(
  peer: Listening,
  command: readonly string[],
  options: { name?: string; HostConfig?: Record<string, unknown>; body?: Record<string, unknown> } = {},
): Promise<string> {
  const { name, HostConfig = {}, body = {} } = options;
  const query = name === undefined ? "" : `?name=${name}`;
  const wanted = { Image: IMAGE, Cmd: command, HostConfig, ...body };
  return ((await call(peer, "POST", `/containers/create${query}`, wanted)) as { Id: string }).Id;
}

export function start(peer: Listening, id: string): Promise<unknown> {
  return callForText(peer, "POST", `/containers/${id}/start`);
}

/** Again where the container ended by itself while it was being ended, which podman takes for a failure. */
export async function remove(peer: Listening, id: string): Promise<void> {
  const ask = () => callForText(peer, "DELETE", `/containers/${id}?force=1`);
  try {
    await ask();
  } catch {
    await sleep(AGAIN_MS);
    await ask();
  }
}

/** Host pid of a container's first process. */
export async function pidOf(peer: Listening, id: string): Promise<number> {
  return ((await call(peer, "GET", `/containers/${id}/json`)) as { State: { Pid: number } }).State.Pid;
}

/** Does it `count` times, `clients` at a time; answers what came of each. */
export async function inParallel<T>(
  count: number,
  clients: number,
  work: (n: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const client = async () => {
    while (next < count) {
      const n = next++;
      results[n] = await work(n);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(clients, count) }, client));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results;
}

/** Milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
