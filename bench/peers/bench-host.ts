/**
 * Hosts for engines to be alone on: two network namespaces joined by a veth pair, of which one is the engine's host and the
 * other a neighbour. And servers in the namespaces of containers: Debian's own programs, which no image has.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
/** How long a server may take to listen, ms. */
const PATIENCE_MS = 10_000;
/** The two have addresses of their own: RFC 5737. */
const HOST = "192.0.2.1";
const NEIGHBOUR = "192.0.2.2";

export class BenchHost {
  readonly #host: ChildProcess;
  readonly #neighbour: ChildProcess;

  private constructor(host: ChildProcess, neighbour: ChildProcess) {
    this.#host = host;
    this.#neighbour = neighbour;
  }

  static async make(): Promise<BenchHost> {
    const made = new BenchHost(await namespace(), await namespace());
    try {
      const cable = `link add eth0 type veth peer name eth0 netns ${made.#neighbour.pid}`;
      for (const [path, lines] of [
        [made.networkPath, ["link set lo up", cable, `addr add ${HOST}/24 dev eth0`, "link set eth0 up"]],
        [made.neighbourPath, [`addr add ${NEIGHBOUR}/24 dev eth0`, "link set eth0 up"]],
      ] as const) {
        for (const line of lines) await inNetwork(path, "ip", ...line.split(" "));
      }
      return made;
    } catch (error) {
      made.end();
      throw error;
    }
  }

  /** Its address, as the neighbour knows it. */
  readonly address = HOST;

  /** A process in the engine's network. */
  get pid(): number {
    return this.#host.pid ?? 0;
  }

  get networkPath(): string {
    return `/proc/${this.#host.pid}/ns/net`;
  }

  get neighbourPath(): string {
    return `/proc/${this.#neighbour.pid}/ns/net`;
  }

  end(): void {
    for (const child of [this.#host, this.#neighbour]) child.kill("SIGKILL");
  }
}

/** A process that waits in a network of its own. */
async function namespace(): Promise<ChildProcess> {
  const child = spawn("unshare", ["-n", "sh", "-c", "echo ready; exec sleep 7200"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

/** Runs a command in a network; answers what it printed. */
export async function inNetwork(path: string, ...command: string[]): Promise<string> {
  const { stdout } = await run("nsenter", [`--net=${path}`, ...command], { maxBuffer: 1 << 24 });
  return stdout;
}

/** Starts a server in the network of process `pid`, and waits until it listens; the answer ends it. */
export async function serve(pid: number, port: number, ...command: string[]): Promise<() => Promise<void>> {
  const child = spawn("nsenter", [`--net=/proc/${pid}/ns/net`, ...command], { stdio: "ignore" });
  const ended = once(child, "exit");
  const end = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  for (const limit = Date.now() + PATIENCE_MS; !listens(pid, port); await sleep(10)) {
    if (child.exitCode === null && Date.now() < limit) continue;
    await end();
    throw new Error(`${command.join(" ")} does not listen`);
  }
  return end;
}

/** Kernel Documentation/networking/proc_net_tcp.rst: the second column is the local address, the fourth 0A for listening. */
function listens(pid: number, port: number): boolean {
  const end = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["tcp", "tcp6"]
    .flatMap((file) => readFileSync(`/proc/${pid}/net/${file}`, "utf8").split("\n"))
    .map((line) => line.trim().split(/ +/))
    .some((columns) => columns[1]?.endsWith(end) && columns[3] === "0A");
}
