/**
 * What networks keep apart, by real packets of both families: containers of two bridges, in both directions; neighbours of
 * the host who route to containers, or send to loopback addresses; and what a published port lets through all the same.
 * Needs root, iptables, iproute2 and gcc.
 */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Neighbour } from "./matrix-lab.ts";
import { type Enter, makePeerEcho, probe } from "./matrix-probes.ts";
import { enterNetwork, inLab, runInLab, sh } from "./network-lab.ts";

const IMAGE = "berth/busybox";
const HOST = ["192.0.2.2", "2001:db8:1::2"] as const;
const NEIGHBOUR = ["192.0.2.9", "2001:db8:1::9"] as const;
/** In containers: published, and not. */
const OPEN = 9000;
const HIDDEN = 9001;
const NETWORKS = ["east", "west", "apart"] as const;
type Name = (typeof NETWORKS)[number];

interface Place {
  pid: number;
  addresses: readonly [string, string];
  gateways: readonly [string, string];
  /** Where OPEN is published on the host. */
  port: number;
  enter: Enter;
}

if (!inLab) {
  test(
    "isolation of networks in a laboratory",
    { skip: process.getuid?.() === 0 ? false : "needs root" },
    () => runInLab(import.meta.filename),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-isolation-"));
  chmodSync(directory, 0o755);
  const servers = {} as Record<Name, Place>;
  const clients = {} as Record<Name, Place>;
  let daemon: TestDaemon;
  let neighbour: Neighbour;

  before(async () => {
    const program = makePeerEcho(directory);
    neighbour = await Neighbour.join(program);
    sh("iptables -L -n >/dev/null; ip6tables -L -n >/dev/null");
    daemon = await TestDaemon.start();
    daemon.loadBusybox();
    for (const [number, name] of NETWORKS.entries()) {
      const subnets = ["--subnet", `10.89.${number}.0/24`, "--subnet", `fd89:0:0:${number}::/64`];
      const options = name === "apart" ? ["-o", "com.docker.network.bridge.enable_icc=false"] : [];
      daemon.ok("network", "create", "--ipv6", ...subnets, ...options, name);
      const mount = ["-v", `${program}:/peer-echo:ro`];
      const ports = ["tcp", "udp"].flatMap((protocol) => ["-p", `${9200 + number}:${OPEN}/${protocol}`]);
      const both = `/peer-echo ${OPEN} & exec /peer-echo ${HIDDEN}`;
      const start = ["run", "-d", "--network", name];
      daemon.ok(...start, "--name", `${name}-server`, ...mount, ...ports, IMAGE, "sh", "-c", both);
      daemon.ok(...start, "--name", `${name}-client`, IMAGE, "sleep", "1000");
      servers[name] = place(name, "server", 9200 + number);
      clients[name] = place(name, "client", 0);
    }
    await eventually(() => {
      for (const name of NETWORKS) {
        assert.equal(daemon.ok("logs", `${name}-server`).match(/ready/g)?.length, 2);
        for (const { pid } of [servers[name], clients[name]]) {
          assert.equal(sh(`nsenter --net=/proc/${pid}/ns/net ip -6 addr show tentative`), "");
        }
      }
    });
  });

  after(async () => {
    await daemon?.stop();
    await neighbour?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  function place(name: Name, role: string, port: number): Place {
    const [shown] = JSON.parse(daemon.ok("inspect", `${name}-${role}`));
    const own = shown.NetworkSettings.Networks[name];
    const pid = shown.State.Pid as number;
    return {
      pid,
      addresses: [own.IPAddress, own.GlobalIPv6Address],
      gateways: [own.Gateway, own.IPv6Gateway],
      port,
      enter: (work) => enterNetwork(pid, work),
    };
  }

  /** What TCP and UDP see, over IPv4 and then IPv6: TCP's answer, and that UDP's is the same. */
  async function ask(
    enter: Enter,
    addresses: readonly [string, string],
    port: number,
    expected: readonly [string, string],
    what: string,
  ): Promise<void> {
    const cells = addresses.flatMap((address, version) =>
      (["TCP", "UDP"] as const).map(async (protocol) => {
        const wanted = expected[version] ?? "";
        const seen = await probe(enter, protocol, address, port, wanted === "silent");
        return `${what}, ${protocol} to ${address}: ${seen === wanted ? "as expected" : `${seen} instead of ${wanted}`}`;
      }),
    );
    const wrong = (await Promise.all(cells)).filter((line) => !line.endsWith(": as expected"));
    assert.deepEqual(wrong, []);
  }

  const silent = ["silent", "silent"] as const;
  const inNeighbour: Enter = (work) => neighbour.namespace.inside(work);

  describe("isolation", () => {
    test("two bridges, in both directions: no port by the container's address, published or not", async () => {
      for (const [from, to] of [
        ["east", "west"],
        ["west", "east"],
      ] as const) {
        const { addresses } = servers[to];
        await ask(clients[to].enter, addresses, HIDDEN, clients[to].addresses, `${to} itself`);
        for (const port of [OPEN, HIDDEN]) {
          await ask(clients[from].enter, addresses, port, silent, `from ${from} to ${to}`);
        }
      }
    });

    test("the gateway of another bridge is the host: what it publishes is there, by the host's address too", async () => {
      for (const [from, to] of [
        ["east", "west"],
        ["west", "east"],
      ] as const) {
        const { port, gateways } = servers[to];
        await ask(clients[from].enter, HOST, port, gateways, `from ${from} to what ${to} publishes`);
        await ask(clients[from].enter, gateways, port, gateways, `from ${from} to ${to}'s gateway`);
      }
    });

    test("without icc: nobody on the same network, but the host, and published ports from everywhere", async () => {
      const { addresses, gateways, port } = servers.apart;
      await ask(clients.apart.enter, addresses, OPEN, silent, "a sibling");
      await ask(clients.apart.enter, addresses, HIDDEN, silent, "a sibling");
      await ask((work) => work(), addresses, HIDDEN, gateways, "the host");
      await ask(inNeighbour, HOST, port, NEIGHBOUR, "a neighbour");
      await ask(clients.apart.enter, HOST, port, gateways, "a sibling, by the published port");
    });

    test("a neighbour who routes through the host reaches no container by its address", async () => {
      for (const name of NETWORKS) {
        for (const port of [OPEN, HIDDEN]) {
          await ask(inNeighbour, servers[name].addresses, port, silent, `a neighbour to ${name}`);
        }
        await ask(inNeighbour, HOST, servers[name].port, NEIGHBOUR, `a neighbour to what ${name} publishes`);
      }
    });

    test("a neighbour's packets to loopback addresses reach neither host nor container", async () => {
      const bridge =
        sh("ip -o -4 addr")
          .split("\n")
          .find((line) => line.includes(" 10.89.0.1/")) ?? "";
      assert.match(bridge, /br-/);
      // It sends 127.0.0.1 and ::1 to the host, on the wire.
      await neighbour.namespace.sh(
        `for d in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$d/route_localnet; done
         ip addr del 127.0.0.1/8 dev lo; ip -6 addr del ::1/128 dev lo
         ip route add 127.0.0.0/8 via ${HOST[0]}; ip -6 route add ::1/128 via ${HOST[1]} dev eth0`,
      );
      const loopback = ["127.0.0.1", "::1"] as const;
      await ask((work) => work(), loopback, servers.east.port, servers.east.gateways, "the host itself");
      for (const port of [servers.east.port, OPEN]) {
        await ask(inNeighbour, loopback, port, silent, "a neighbour to a loopback address");
      }
    });

    test("a container's packets to the host's loopback do not arrive", async () => {
      const { pid, enter } = clients.west;
      const secret = await neighbour.serveOnHost(9300);
      try {
        await ask((work) => work(), ["127.0.0.1", "::1"], 9300, ["127.0.0.1", "::1"], "the host itself");
        sh(
          `nsenter --net=/proc/${pid}/ns/net sh -ec '
             echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet
             ip addr del 127.0.0.1/8 dev lo; ip -6 addr del ::1/128 dev lo
             ip route add 127.0.0.0/8 via ${servers.west.gateways[0]}
             ip -6 route add ::1/128 via ${servers.west.gateways[1]} dev eth0'`,
        );
        await ask(enter, ["127.0.0.1", "::1"], 9300, silent, "a container");
      } finally {
        secret[Symbol.dispose]();
      }
    });
  });
}
