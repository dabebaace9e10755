/**
 * A network laboratory: the test process in a network namespace of its own plays the host, other namespaces play
 * neighbours and containers. The machine's own network and firewall stay out of it, and all of it ends with the
 * process.
 *
 * A thread may enter another network namespace; what it opens there stays there. So servers and clients inside
 * containers are sockets of this very process, made within `inside`.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { libcFunction } from "#kernel/libc.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import type { NetworkController, NetworkOptions, SandboxRequest } from "#networks/network-types.ts";
import type { NetlinkRequest, SandboxProgram } from "#runtime/launch-types.ts";

const setns = libcFunction("int setns(int fd, int kind)");
const CLONE_NEWNET = 0x40000000;

const mark = "BERTH_TEST_NETNS";
/** Is this process in a namespace of its own already? */
export const inLab = process.env[mark] === "1";

/** Runs a test file again under `unshare -n`, and fails with its output if it fails. */
export function runInLab(file: string): void {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const result = spawnSync("unshare", ["-n", process.execPath, "--test", file], {
    env: { ...env, [mark]: "1" },
    encoding: "utf8",
    timeout: 550_000,
  });
  assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
}

export function sh(command: string): string {
  return execFileSync("sh", ["-ec", command], { encoding: "utf8" });
}

/** A process that does nothing in a network namespace of its own. */
export class Namespace implements Disposable {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async make(): Promise<Namespace> {
    const child = spawn("unshare", ["-n", "sh", "-c", "echo ready; exec sleep 3600"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    return new Namespace(child);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** See `enterNetwork`. */
  inside<T>(work: () => T | Promise<T>): Promise<T> {
    return enterNetwork(this.pid, work);
  }

  sh(command: string): Promise<string> {
    return this.inside(() => sh(command));
  }

  /** What the launcher does with a sandbox's program. */
  async execute(program: SandboxProgram): Promise<void> {
    send(program.host, this.pid);
    await this.inside(() => {
      for (const [name, value] of Object.entries(program.sysctls)) writeFileSync(`/proc/sys/${name}`, value);
      send(program.container, this.pid);
    });
  }

  /** A server that tells every client what address it came from. */
  serve(port: number): Promise<Server> {
    return this.inside(() => serve(port));
  }

  /** Connects from within; see `ask`. */
  ask(address: string, port: number): Promise<string> {
    return this.inside(() => ask(address, port));
  }

  /** See `silent`. */
  silent(address: string, port: number): Promise<boolean> {
    return this.inside(() => silent(address, port));
  }

  /** Ends the process, and with it the namespace. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exited;
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
  }
}

/** An address of each family, in networks of /24 and /64. */
export interface DualAddress {
  4: string;
  6: string;
}

/** The host gets a link "eth0" to a neighbour, which has one of that name to it; both families, usable at once. */
export async function wireNeighbour(
  neighbour: Namespace,
  host: DualAddress,
  neighbourAt: DualAddress,
): Promise<void> {
  const addresses = (of: DualAddress) =>
    `ip addr add ${of[4]}/24 dev eth0; ip -6 addr add ${of[6]}/64 dev eth0 nodad; ip link set eth0 up`;
  sh(`ip link add eth0 type veth peer name eth0 netns ${neighbour.pid}; ${addresses(host)}`);
  await neighbour.sh(`ip link set lo up; ${addresses(neighbourAt)}`);
}

/** Ends the containers, removes users' networks, and stops the controller. */
export async function endNetworks(
  controller: NetworkController,
  containers: { namespace: Namespace; request: SandboxRequest }[],
): Promise<void> {
  for (const { namespace, request } of containers.splice(0)) {
    await controller.release(request.containerId);
    await namespace.end();
  }
  for (const { Name } of controller.list()) {
    if (!["bridge", "host", "none"].includes(Name)) await controller.remove(Name);
  }
  await controller.stop();
}

/** Runs `work` with this thread in the network of process `pid`. Nothing else may go on meanwhile. */
export async function enterNetwork<T>(pid: number, work: () => T | Promise<T>): Promise<T> {
  const home = openSync("/proc/thread-self/ns/net", "r");
  const there = openSync(`/proc/${pid}/ns/net`, "r");
  try {
    assert.equal(setns(there, CLONE_NEWNET), 0, "setns");
    return await work();
  } finally {
    assert.equal(setns(home, CLONE_NEWNET), 0, "setns back");
    closeSync(home);
    closeSync(there);
  }
}

function send(requests: readonly NetlinkRequest[], pid: number): void {
  using netlink = new NetlinkSocket();
  for (const request of requests) {
    const bytes = Buffer.from(request.bytes);
    for (const at of request.pidAt) bytes.writeUInt32LE(pid, at);
    const errno = netlink.tryRequest(bytes);
    assert.ok(errno === 0 || errno === request.ignore, `${request.why}: errno ${errno}`);
  }
}

/** See Namespace.serve. Listening is synchronous where no host name is given, so the socket belongs to this namespace. */
export function serve(port: number): Server {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(String(socket.remoteAddress).replace("::ffff:", ""));
  });
  server.listen(port);
  return server;
}

/** The answer of a server of ours (the client's address as it sees it), or "refused", or "silent". */
export async function ask(address: string, port: number, patience = 30_000): Promise<string> {
  const socket = connect({ host: address, port });
  const timer = setTimeout(() => socket.destroy(), patience);
  let answer = "";
  try {
    for await (const chunk of socket) answer += String(chunk);
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code);
    if (code === "ECONNREFUSED") return "refused";
    // Given up above: nobody answered at all.
    if (code !== "ERR_STREAM_PREMATURE_CLOSE") return `failed: ${code}`;
  } finally {
    clearTimeout(timer);
  }
  return answer === "" ? "silent" : answer;
}

/** Does nobody answer there, not even with a refusal? */
export async function silent(address: string, port: number): Promise<boolean> {
  return (await ask(address, port, 400)) === "silent";
}

let counter = 0;

/** A request of a container with defaults for everything. */
export function sandboxRequest(fields: Partial<SandboxRequest> = {}): SandboxRequest {
  const number = ++counter;
  return {
    containerId: number.toString(16).padStart(64, "0"),
    name: `c${number}`,
    mode: "bridge",
    hostname: `h${number}`,
    domainname: "",
    endpoints: {},
    portBindings: {},
    exposedPorts: [],
    publishAllPorts: false,
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    ...fields,
  };
}

/** A daemon's network options as they are by default, but for what is given. */
export function networkOptions(
  changes: Partial<NetworkOptions> & Pick<NetworkOptions, "execRoot" | "bridge">,
): NetworkOptions {
  return {
    bip: undefined,
    fixedCidr: undefined,
    mtu: 1500,
    iptables: true,
    hostGatewayIps: [],
    ip6tables: true,
    firewallBackend: "iptables",
    ipForward: true,
    ipMasq: true,
    icc: true,
    ip: "0.0.0.0",
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    defaultAddressPools: [],
    ...changes,
  };
}
