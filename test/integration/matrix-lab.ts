/**
 * The places of the network matrix, made by an engine's own command line: for every row a network, a server and a client
 * in containers, and one neighbour of the host. Runs in a laboratory (network-lab.ts): its addresses are nobody else's.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Ran } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { DIRECTIONS, type Direction, type Family, type Fate, MATRIX, type Row } from "./matrix-cells.ts";
import { type Enter, type Protocol, probe } from "./matrix-probes.ts";
import { enterNetwork, Namespace, sh } from "./network-lab.ts";

const IMAGE = "berth/busybox";
const PORT = 9000;
const HOST = ["192.0.2.2", "2001:db8:1::2"] as const;
const NEIGHBOUR = ["192.0.2.9", "2001:db8:1::9"] as const;

/** What makes the containers: the command line of an engine, asynchronously. */
export interface MatrixEngine {
  docker(...args: string[]): Promise<Ran>;
  stop(): Promise<void>;
}

/** One question of the matrix, and what became of it. */
export interface Cell {
  name: string;
  expected: string;
  seen: string;
}

export class Neighbour implements AsyncDisposable {
  readonly namespace: Namespace;
  readonly #servers: Disposable[] = [];

  readonly #program: string;

  private constructor(namespace: Namespace, program: string) {
    this.namespace = namespace;
    this.#program = program;
  }

  /** A machine beside the host, with a server, and a cable more for each macvlan. */
  static async join(server: string): Promise<Neighbour> {
    const namespace = await Namespace.make();
    const neighbour = new Neighbour(namespace, server);
    sh("ip link set lo up");
    await namespace.sh("ip link set lo up");
    await neighbour.#cable(
      "eth0",
      `${HOST[0]}/24`,
      `${HOST[1]}/64`,
      `${NEIGHBOUR[0]}/24`,
      `${NEIGHBOUR[1]}/64`,
    );
    for (const row of MATRIX.filter(({ kind }) => kind === "macvlan")) {
      const [v4, v6] = subnets(row);
      await neighbour.#cable(parentOf(row), `${v4}.8/24`, `${v6}::8/64`, `${v4}.9/24`, `${v6}::9/64`);
    }
    await namespace.sh(
      `ip route add default via ${HOST[0]}; ip -6 route add default via ${HOST[1]} dev eth0`,
    );
    neighbour.#servers.push(await serve(server, PORT, namespace.pid));
    return neighbour;
  }

  /** The same server on the host itself. */
  serveOnHost(port: number): Promise<Disposable> {
    return serve(this.#program, port);
  }

  async #cable(name: string, host4: string, host6: string, far4: string, far6: string): Promise<void> {
    sh(
      `ip link add ${name} type veth peer name ${name} netns ${this.namespace.pid};
       ip addr add ${host4} dev ${name}; ip -6 addr add ${host6} dev ${name} nodad; ip link set ${name} up`,
    );
    await this.namespace.sh(
      `ip addr add ${far4} dev ${name}; ip -6 addr add ${far6} dev ${name} nodad; ip link set ${name} up`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server[Symbol.dispose]();
    await this.namespace.end();
  }
}

/** Of a network: the first three parts of its IPv4 subnet, the first 64 bits of its IPv6 one. */
function subnets(row: Row): [string, string] {
  const number = MATRIX.indexOf(row) + 1;
  return [`10.77.${number}`, `fd77:0:0:${number}`];
}

/** A link name of the host's, for one network alone. */
function parentOf(row: Row): string {
  return `lan${MATRIX.indexOf(row) + 1}`;
}

function families(family: Family): string[] {
  return [...(family === "v6" ? ["--ipv4=false"] : []), ...(family === "v4" ? [] : ["--ipv6"])];
}

async function serve(program: string, port: number, pid?: number): Promise<Disposable> {
  const words = [program, String(port)];
  const through = pid === undefined ? [] : ["nsenter", `--net=/proc/${pid}/ns/net`];
  const [command = "", ...args] = [...through, ...words];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

interface Member {
  pid: number;
  /** Empty where it has none of the family. */
  addresses: [string, string];
}

/** A row's containers, ready to be asked. */
export class RowPlace {
  readonly #row: Row;
  readonly #engine: MatrixEngine;
  readonly #program: string;
  readonly #id: string;
  /** On the host, of what is published (or, with the host's network, of the server itself). */
  readonly #hostPort: number;
  #gateways: [string, string] = ["", ""];
  #server: Member = { pid: 0, addresses: ["", ""] };
  #client: Member = { pid: 0, addresses: ["", ""] };

  constructor(row: Row, engine: MatrixEngine, program: string) {
    this.#row = row;
    this.#engine = engine;
    this.#program = program;
    this.#id = `m${MATRIX.indexOf(row) + 1}`;
    this.#hostPort = 9100 + MATRIX.indexOf(row);
  }

  /** Makes network and containers; throws what the engine says. */
  async make(): Promise<void> {
    await this.#makeNetwork();
    const { kind } = this.#row;
    const mode = this.#mode();
    if (kind === "container") {
      await this.#run("server", `container:${await this.#owner(mode)}`);
      await this.#run("client", `container:${this.#id}-owner`);
    } else {
      await this.#run("server", mode);
      await this.#run("client", mode);
    }
    this.#server = await this.#member(kind === "container" ? "owner" : "server");
    this.#client = await this.#member("client");
    if (kind === "container") this.#client.addresses = this.#server.addresses;
    await eventually(async () => {
      for (const { pid } of [this.#server, this.#client]) {
        const pending = sh(`nsenter --net=/proc/${pid}/ns/net ip -6 addr show tentative`);
        assert.equal(pending, "", "addresses that are not yet sure to be alone");
      }
      const log = await this.#docker("logs", `${this.#id}-server`);
      assert.match(log, /ready/);
    });
  }

  /** Every cell of the row: all questions at once. */
  async cells(neighbour: Neighbour): Promise<Cell[]> {
    const asked = DIRECTIONS.flatMap((direction) =>
      ([0, 1] as const).flatMap((version) =>
        (["TCP", "UDP"] as const).map((protocol) => ({ direction, version, protocol })),
      ),
    );
    return await Promise.all(
      asked.map(async ({ direction, version, protocol }) => {
        const fate: Fate = this.#row[direction];
        const expected = fate[version];
        const seen = await this.#ask(direction, version, protocol, neighbour, expected === "silent");
        return { name: `${direction} IPv${version === 0 ? 4 : 6} ${protocol}`, expected, seen };
      }),
    );
  }

  async #ask(
    direction: Direction,
    version: 0 | 1,
    protocol: Protocol,
    neighbour: Neighbour,
    expectSilence: boolean,
  ): Promise<string> {
    const { kind } = this.#row;
    const there = this.#server.addresses[version];
    const inClient: Enter = (work) => enterNetwork(this.#client.pid, work);
    const inNeighbour: Enter = (work) => neighbour.namespace.inside(work);
    const onHost: Enter = (work) => work();
    const loopback = ["127.0.0.1", "::1"][version] ?? "";
    const port = kind === "host" ? this.#hostPort : PORT;
    const [enter, address, asked]: [Enter, string, number] = {
      between: [inClient, kind === "container" || kind === "host" ? loopback : there, port] as const,
      fromHost: [onHost, there, port] as const,
      loopback: [onHost, loopback, this.#hostPort] as const,
      published: [inNeighbour, HOST[version], this.#hostPort] as const,
      direct: [inNeighbour, there, port] as const,
      outward: [inClient, this.#outside(version), PORT] as const,
    }[direction] as [Enter, string, number];
    if (address === "") return "-";
    return this.#name(await probe(enter, protocol, address, asked, expectSilence));
  }

  /** Where a container finds a neighbour of the host: a macvlan's, on their common LAN. */
  #outside(version: 0 | 1): string {
    if (this.#row.kind !== "macvlan") return NEIGHBOUR[version];
    const [v4, v6] = subnets(this.#row);
    return version === 0 ? `${v4}.9` : `${v6}::9`;
  }

  /** Whose address it is. */
  #name(address: string): string {
    const [v4, v6] = subnets(this.#row);
    const names = new Map<string, string>([
      ...this.#gateways.map((gateway) => [gateway, "gateway"] as const),
      ...this.#client.addresses.map((own) => [own, "container"] as const),
      ...HOST.map((own) => [own, "host"] as const),
      ...[...NEIGHBOUR, `${v4}.9`, `${v6}::9`].map((own) => [own, "neighbour"] as const),
      ["127.0.0.1", "loopback"],
      ["::1", "loopback"],
    ]);
    return names.get(address) ?? address;
  }

  #mode(): string {
    const { kind } = this.#row;
    if (kind === "default bridge") return "bridge";
    if (kind === "host" || kind === "none") return kind;
    return this.#id;
  }

  async #makeNetwork(): Promise<void> {
    const { kind, family } = this.#row;
    if (["default bridge", "host", "none"].includes(kind)) return;
    const [v4, v6] = subnets(this.#row);
    const options = families(family);
    if (family !== "v6") options.push("--subnet", `${v4}.0/24`);
    if (family !== "v4") options.push("--subnet", `${v6}::/64`);
    if (kind === "internal") options.push("--internal");
    if (kind === "bridge without icc") options.push("-o", "com.docker.network.bridge.enable_icc=false");
    if (kind === "macvlan") options.push("-d", "macvlan", "-o", `parent=${parentOf(this.#row)}`);
    await this.#docker("network", "create", ...options, this.#id);
  }

  /** The container whose network two others join; answers its name. */
  async #owner(network: string): Promise<string> {
    const name = `${this.#id}-owner`;
    await this.#docker(
      "run",
      "-d",
      "--name",
      name,
      ...this.#publish(),
      "--network",
      network,
      IMAGE,
      "sleep",
      "1000",
    );
    return name;
  }

  async #run(role: "server" | "client", mode: string): Promise<void> {
    const name = `${this.#id}-${role}`;
    const options = ["run", "-d", "--name", name, "--network", mode];
    if (role === "client") {
      await this.#docker(...options, IMAGE, "sleep", "1000");
      return;
    }
    const port = mode === "host" ? this.#hostPort : PORT;
    // What shares another's network publishes nothing itself.
    if (!mode.startsWith("container:")) options.push(...this.#publish());
    options.push("-v", `${this.#program}:/peer-echo:ro`);
    await this.#docker(...options, IMAGE, "/peer-echo", String(port));
  }

  #publish(): string[] {
    return ["tcp", "udp"].flatMap((protocol) => ["-p", `${this.#hostPort}:${PORT}/${protocol}`]);
  }

  async #member(role: string): Promise<Member> {
    const [shown] = JSON.parse(await this.#docker("inspect", `${this.#id}-${role}`));
    const pid = shown.State.Pid as number;
    const own = Object.values(shown.NetworkSettings.Networks)[0] as
      | { IPAddress: string; GlobalIPv6Address: string; Gateway: string; IPv6Gateway: string }
      | undefined;
    if (this.#row.kind === "host") return { pid, addresses: [...HOST] };
    if (role !== "client") await this.#learnGateways(own);
    return { pid, addresses: [own?.IPAddress ?? "", own?.GlobalIPv6Address ?? ""] };
  }

  /** An internal network's containers are told of no gateway, but the host is on its bridge. */
  async #learnGateways(own: { Gateway: string; IPv6Gateway: string } | undefined): Promise<void> {
    this.#gateways = [own?.Gateway ?? "", own?.IPv6Gateway ?? ""];
    if (this.#row.kind !== "internal") return;
    const [shown] = JSON.parse(await this.#docker("network", "inspect", this.#id));
    for (const { Gateway } of shown.IPAM.Config as { Gateway?: string }[]) {
      if (Gateway !== undefined) this.#gateways[Gateway.includes(":") ? 1 : 0] = Gateway.replace(/\/.*/, "");
    }
  }

  async #docker(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#engine.docker(...args);
    assert.equal(code, 0, `docker ${args.join(" ")}: ${stderr.trim()}`);
    return stdout.trim();
  }
}
