/** What is measured. A case answers milliseconds (or KiB) of one run on one peer. */
import { execFile } from "node:child_process";
import { Agent, request } from "node:http";
import { promisify } from "node:util";
import { type Peer, pss } from "./peer.ts";

const run = promisify(execFile);

export interface Case {
  name: string;
  unit: "ms" | "KiB";
  /** Runs for each peer, interleaved with the other's. */
  runs: number;
  /** The share of the peer's figure that Berth may need at most. */
  budget?: number;
  /** An absolute bound on Berth's figure. */
  bound?: number;
  /** Before the first run on a peer, unmeasured; answers how to undo it after the last. */
  prepare?(peer: Peer): Promise<() => Promise<void>>;
  measure(peer: Peer): Promise<number>;
}

export const IMAGE = "bench-busybox";

export const CASES: Case[] = [
  {
    name: "docker version (floor of the command line)",
    unit: "ms",
    runs: 10,
    measure: (peer) => timed(() => docker(peer, "version")),
  },
  {
    name: "docker run --rm true, bridge",
    unit: "ms",
    runs: 15,
    budget: 1 / 5,
    measure: (peer) => timed(() => docker(peer, "run", "--rm", IMAGE, "true")),
  },
  {
    name: "docker run --rm true, no network",
    unit: "ms",
    runs: 10,
    measure: (peer) => timed(() => docker(peer, "run", "--rm", "--network", "none", IMAGE, "true")),
  },
  {
    name: "API create, start, wait, remove",
    unit: "ms",
    runs: 15,
    budget: 1 / 12,
    measure: (peer) => timed(() => cycle(peer)),
  },
  {
    name: "twenty docker run --rm at once",
    unit: "ms",
    runs: 7,
    budget: 1 / 6,
    measure: (peer) => timed(() => atOnce(peer, 20, "run", "--rm", IMAGE, "true")),
  },
  {
    name: "memory of a running container's shim (PSS)",
    unit: "KiB",
    runs: 3,
    bound: 100,
    measure: async (peer) => {
      const id = await docker(peer, "run", "-d", IMAGE, "sleep", "60");
      try {
        const pid = Number(await docker(peer, "inspect", "-f", "{{.State.Pid}}", id));
        return peer.shimProcesses(pid).reduce((sum, shim) => sum + pss(shim), 0);
      } finally {
        await docker(peer, "rm", "-f", id);
      }
    },
  },
  {
    name: "memory of the idle daemon (PSS)",
    unit: "KiB",
    runs: 1,
    budget: 1,
    measure: async (peer) => peer.daemonProcesses().reduce((sum, pid) => sum + pss(pid), 0),
  },
];

/** The real command line against this peer; answers what it printed. */
export async function docker(peer: Peer, ...args: string[]): Promise<string> {
  const { stdout } = await run("docker", args, {
    env: { ...process.env, DOCKER_HOST: `unix://${peer.socket}` },
  });
  return stdout.trim();
}

/** Many command lines at once, started by a shell: this process would take longer to start them than they run. */
async function atOnce(peer: Peer, count: number, ...args: string[]): Promise<void> {
  const script = 'n=$1; shift; while [ $n -gt 0 ]; do docker "$@" & n=$((n - 1)); done; wait';
  await run("sh", ["-c", script, "sh", String(count), ...args], {
    env: { ...process.env, DOCKER_HOST: `unix://${peer.socket}` },
  });
}

/** Milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function cycle(peer: Peer): Promise<void> {
  const { Id } = (await call(peer, "POST", "/containers/create", { Image: IMAGE, Cmd: ["true"] })) as {
    Id: string;
  };
  await call(peer, "POST", `/containers/${Id}/start`);
  await call(peer, "POST", `/containers/${Id}/wait`);
  await call(peer, "DELETE", `/containers/${Id}`);
}

/** Connections are kept, as every client but a command line keeps them. */
const agent = new Agent({ keepAlive: true });

/** A request to the API; its answer, parsed. */
export function call(peer: Peer, method: string, path: string, body?: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const sent = request({ agent, socketPath: peer.socket, method, path, headers }, (answer) => {
      let text = "";
      answer.on("data", (chunk: Buffer) => {
        text += chunk;
      });
      answer.on("end", () => {
        if ((answer.statusCode ?? 500) >= 400)
          reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        else resolve(text === "" ? undefined : JSON.parse(text));
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A request that takes the connection over; all that comes by it. */
export function hijacked(peer: Peer, path: string, body: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json", Connection: "Upgrade", Upgrade: "tcp" };
    const sent = request({ socketPath: peer.socket, method: "POST", path, headers });
    sent.on("upgrade", (_answer, socket, head) => {
      let text = head.toString();
      socket.on("data", (chunk: Buffer) => {
        text += chunk;
      });
      socket.on("end", () => {
        socket.end();
        resolve(text);
      });
      socket.on("error", reject);
    });
    sent.on("response", (answer) => reject(new Error(`POST ${path}: ${answer.statusCode}`)));
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
}
