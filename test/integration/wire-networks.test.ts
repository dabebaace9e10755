/**
 * Networks that lie on a wire of the host's (macvlan), and networks of IPv6 alone, against the real kernel in a network
 * laboratory. The host's eth0 is a wire with a neighbour at its other end. Needs root and iproute2.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { EndpointSettings, IpamConfig, NetworkCreateRequest } from "#api-types/network.ts";
import { createNetworkController, networkMigrations } from "#networks/controller.ts";
import type { NetworkController, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { Database } from "#state/database.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import {
  endNetworks,
  inLab,
  Namespace,
  networkOptions,
  runInLab,
  sandboxRequest,
  serve,
  sh,
  wireNeighbour,
} from "#test/integration/network-lab.ts";

const SUBNET = "192.0.2.0/24";
const HOST = "192.0.2.2";
const NEIGHBOUR = "192.0.2.9";
const NEIGHBOUR6 = "2001:db8:1::9";
/** Beyond the neighbour, which routes. */
const WORLD = "203.0.113.1";
const WORLD6 = "2001:db8:9::1";
/** The whole of the wire, with the neighbour for a gateway. */
const POOL: IpamConfig = { Subnet: SUBNET, Gateway: NEIGHBOUR, AuxiliaryAddresses: { host: HOST } };
const POOL6: IpamConfig = { Subnet: "2001:db8:1::/64", Gateway: NEIGHBOUR6 };

interface Container {
  namespace: Namespace;
  sandbox: Sandbox;
  request: SandboxRequest;
  endpoint: (network: string) => Partial<EndpointSettings>;
}

if (!inLab) {
  test("networks on a wire in a laboratory", { skip: process.getuid?.() === 0 ? false : "needs root" }, () =>
    runInLab(import.meta.filename),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-wire-networks-"));
  const containers: Container[] = [];
  let neighbour: Namespace;
  let links = "";
  let database: Database;
  let controller: NetworkController;

  before(async () => {
    sh("ip link set lo up");
    neighbour = await Namespace.make();
    await wireNeighbour(neighbour, { 4: HOST, 6: "2001:db8:1::2" }, { 4: NEIGHBOUR, 6: NEIGHBOUR6 });
    await neighbour.sh(`ip addr add ${WORLD}/32 dev lo; ip -6 addr add ${WORLD6}/128 dev lo nodad`);
  });

  beforeEach(async () => {
    links = present();
    database = Database.open(":memory:", [networkMigrations]);
    controller = make();
    await controller.start();
  });

  afterEach(async () => {
    await endNetworks(controller, containers);
    assert.deepEqual(database.all("SELECT * FROM network_address WHERE holder IS NOT NULL"), []);
    // Of the networks nothing stays, and what they lay on does. The kernel takes its time over dead namespaces.
    await eventually(() => assert.equal(present(), links));
    database[Symbol.dispose]();
  });

  after(() => {
    neighbour[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  const present = () => sh("ip -o link | awk '{ print $2 }'");

  function make(): NetworkController {
    const options = networkOptions({ execRoot: directory, bridge: "none", iptables: false });
    return createNetworkController(database, options);
  }

  async function restart(): Promise<void> {
    await controller.stop();
    controller = make();
    await controller.start();
    const running = containers.map(({ request, namespace }) => [request.containerId, { pid: namespace.pid }]);
    await controller.reconcile(new Map(running as [string, { pid: number }][]));
  }

  async function wire(
    name: string,
    options: Record<string, string> = {},
    fields: NetworkCreateRequest = {},
    ...Config: IpamConfig[]
  ): Promise<void> {
    const request = { Name: name, Driver: "macvlan", Options: { parent: "eth0", ...options } };
    await controller.create({ ...request, ...fields, IPAM: { Config } });
  }

  type Wishes = Record<string, Partial<EndpointSettings>>;

  async function run(endpoints: Wishes, fields: Partial<SandboxRequest> = {}): Promise<Container> {
    const [mode = ""] = Object.keys(endpoints);
    const request = sandboxRequest({ mode, endpoints, ...fields });
    const sandbox = await controller.allocate(request);
    const namespace = await Namespace.make();
    const endpoint = (name: string) => controller.settings(request.containerId)?.endpoints[name] ?? {};
    containers.push({ namespace, sandbox, request, endpoint });
    await namespace.execute(sandbox.program);
    controller.started(request.containerId, namespace.pid);
    return { namespace, sandbox, request, endpoint };
  }

  const addressOf = ({ endpoint }: Container, network: string) => endpoint(network).IPAddress ?? "";
  const address6Of = ({ endpoint }: Container, network: string) => endpoint(network).GlobalIPv6Address ?? "";
  const serving = (server: Server): Disposable => ({ [Symbol.dispose]: () => void server.close() });

  test("containers are hosts on the wire: they reach each other and all beyond the parent, not the host", async () => {
    await wire("lan", {}, { EnableIPv6: true }, POOL, POOL6);
    const publish = {
      portBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
      exposedPorts: ["80/tcp"],
    };
    const a = await run({ lan: {} }, publish);
    const b = await run({
      lan: { IPAMConfig: { IPv4Address: "192.0.2.77" }, MacAddress: "02:aa:00:00:00:77" },
    });
    assert.equal(addressOf(a, "lan"), "192.0.2.1");
    assert.equal(addressOf(b, "lan"), "192.0.2.77");
    assert.equal(a.endpoint("lan").Gateway, NEIGHBOUR);
    assert.match(await b.namespace.sh("ip -o link show eth0"), /link\/ether 02:aa:00:00:00:77/);
    assert.deepEqual(a.sandbox.ports, {}, "publishing is ignored");
    using _a = serving(await a.namespace.serve(80));
    using _n = serving(await neighbour.serve(83));
    using _h = serving(serve(84));
    assert.equal(await b.namespace.ask(addressOf(a, "lan"), 80), "192.0.2.77", "each other");
    assert.equal(await b.namespace.ask(address6Of(a, "lan"), 80), address6Of(b, "lan"), "each other by IPv6");
    assert.equal(await b.namespace.ask(NEIGHBOUR, 83), "192.0.2.77", "the neighbour");
    assert.equal(await b.namespace.ask(NEIGHBOUR6, 83), address6Of(b, "lan"), "the neighbour by IPv6");
    assert.equal(await b.namespace.ask(WORLD, 83), "192.0.2.77", "the world through the gateway");
    assert.equal(await b.namespace.ask(WORLD6, 83), address6Of(b, "lan"), "the world by IPv6");
    assert.equal(
      await neighbour.ask(addressOf(a, "lan"), 80),
      NEIGHBOUR,
      "from the neighbour, without publishing",
    );
    assert.ok(await b.namespace.silent(HOST, 84), "not the host");
    assert.equal(await neighbour.ask(HOST, 84), NEIGHBOUR, "which is there, for others");
    await restart();
    const c = await run({ lan: {} });
    const taken = [HOST, NEIGHBOUR, addressOf(a, "lan"), addressOf(b, "lan")];
    assert.ok(!taken.includes(addressOf(c, "lan")), "neither the host's nor one that is held");
    assert.equal(await c.namespace.ask(addressOf(a, "lan"), 80), addressOf(c, "lan"));
    // The next of the same addresses, at once: with its own MAC address, and with one that the neighbour has to learn.
    for (const MacAddress of ["02:aa:00:00:00:77", "02:aa:00:00:00:78"]) {
      const former = containers.findIndex(({ endpoint }) => endpoint("lan").IPAddress === "192.0.2.77");
      const [gone] = containers.splice(former, 1);
      await Promise.all([gone?.namespace.end(), controller.release(gone?.request.containerId ?? "")]);
      const d = await run({ lan: { IPAMConfig: { IPv4Address: "192.0.2.77" }, MacAddress } });
      using _d = serving(await d.namespace.serve(80));
      assert.equal(await neighbour.ask("192.0.2.77", 80), NEIGHBOUR);
    }
  });

  test("private containers reach the wire and not each other", async () => {
    await wire("lonely", { macvlan_mode: "private" }, {}, POOL);
    const [a, b] = [await run({ lonely: {} }), await run({ lonely: {} })];
    using _a = serving(await a.namespace.serve(80));
    using _n = serving(await neighbour.serve(83));
    assert.equal(await b.namespace.ask(NEIGHBOUR, 83), addressOf(b, "lonely"));
    assert.equal(await neighbour.ask(addressOf(a, "lonely"), 80), NEIGHBOUR);
    assert.ok(await b.namespace.silent(addressOf(a, "lonely"), 80));
  });

  test("two networks on one wire; joining and leaving one while the container runs; a smaller mtu", async () => {
    await wire("lan", {}, {}, POOL);
    await wire("small", { "com.docker.network.driver.mtu": "1400" }, {}, { Subnet: "198.51.100.0/24" });
    const a = await run({ small: {} });
    assert.equal(a.endpoint("small").Gateway, "", "no gateway but the one that is told");
    assert.match(await a.namespace.sh("ip -o link show eth0"), /mtu 1400/);
    assert.equal(await a.namespace.sh("ip route show default"), "");
    using _n = serving(await neighbour.serve(83));
    await controller.connect({ ...a.request, endpoints: { lan: {} } }, "lan");
    assert.equal(await a.namespace.ask(WORLD, 83), addressOf(a, "lan"));
    assert.match(await a.namespace.sh("ip route show default"), /via 192\.0\.2\.9 dev eth1/);
    await assert.rejects(
      controller.connect({ ...a.request, endpoints: { lan: {} } }, "lan"),
      /already exists in network lan/,
    );
    await restart();
    await controller.disconnect(a.request, "lan");
    assert.doesNotMatch(await a.namespace.sh("ip -o link"), /eth1/);
    assert.equal(await a.namespace.sh("ip route show default"), "");
    await controller.connect({ ...a.request, endpoints: { lan: {} } }, "lan");
    assert.equal(await a.namespace.ask(NEIGHBOUR, 83), addressOf(a, "lan"), "and again");
    await assert.rejects(
      wire("large", { "com.docker.network.driver.mtu": "9000" }, {}),
      /larger than that of eth0/,
    );
  });

  test("one container has the whole link where it is passed through", async () => {
    await wire("whole", { macvlan_mode: "passthru" }, {}, POOL);
    const a = await run({ whole: {} });
    const mac = /link\/ether (\S+)/.exec(sh("ip -o link show eth0"))?.[1] ?? "";
    assert.equal(a.endpoint("whole").MacAddress, mac);
    assert.match(await a.namespace.sh("ip -o link show eth0"), new RegExp(mac));
    using _n = serving(await neighbour.serve(83));
    assert.equal(await a.namespace.ask(NEIGHBOUR, 83), addressOf(a, "whole"));
    await assert.rejects(run({ whole: {} }), /passthru/);
    await assert.rejects(wire("second"), /already using parent interface eth0 in mode passthru/);
  });

  test("without a parent: a wire of its own that goes with the network, and no way out", async () => {
    await wire("alone", { parent: "" }, {}, { Subnet: "198.51.100.0/24", Gateway: "198.51.100.1" });
    const parent = `dm-${controller.inspect("alone").Id.slice(0, 12)}`;
    assert.match(sh(`ip -o link show ${parent}`), /state UP|UNKNOWN/);
    const [a, b] = [await run({ alone: {} }), await run({ alone: {} })];
    using _a = serving(await a.namespace.serve(80));
    assert.equal(await b.namespace.ask(addressOf(a, "alone"), 80), addressOf(b, "alone"));
    assert.equal(await b.namespace.sh("ip route show default"), "");
    await restart();
    await controller.release(a.request.containerId);
    await controller.release(b.request.containerId);
    await controller.remove("alone");
    assert.throws(() => sh(`ip link show ${parent} 2>/dev/null`));
  });

  test("addresses out of several subnets, a part of one, and never what is reserved", async () => {
    const narrow = {
      Subnet: "198.51.100.0/24",
      IPRange: "198.51.100.8/30",
      AuxiliaryAddresses: { a: "198.51.100.9" },
    };
    await wire("many", {}, {}, narrow, { Subnet: "10.9.0.0/30", Gateway: "10.9.0.2" });
    const addresses = [];
    for (let n = 0; n < 4; n++) {
      const request = sandboxRequest({ mode: "many", endpoints: { many: {} } });
      const { endpoints } = await controller.allocate(request);
      addresses.push(endpoints.many?.IPAddress);
    }
    assert.deepEqual(addresses, ["198.51.100.8", "198.51.100.10", "198.51.100.11", "10.9.0.1"]);
    await assert.rejects(
      controller.allocate(sandboxRequest({ mode: "many", endpoints: { many: {} } })),
      /no available IPv4 addresses on this network's address pools: many \(/,
    );
    const far = sandboxRequest({
      mode: "many",
      endpoints: { many: { IPAMConfig: { IPv4Address: "198.51.100.200" } } },
    });
    assert.equal((await controller.allocate(far)).endpoints.many?.IPAddress, "198.51.100.200");
    await controller.reconcile(new Map());
  });

  test("a parent that is gone is told by name, and found again when it is back", async () => {
    sh("ip link add wire1 type veth peer name wire1p; ip link set wire1 up; ip link set wire1p up");
    await wire("lan", { parent: "wire1" }, {}, { Subnet: "198.51.100.0/24" });
    sh("ip link del wire1");
    await assert.rejects(run({ lan: {} }), /the requested parent interface wire1 was not found/);
    sh("ip link add wire1 type veth peer name wire1p; ip link set wire1 up; ip link set wire1p up");
    const [a, b] = [await run({ lan: {} }), await run({ lan: {} })];
    using _a = serving(await a.namespace.serve(80));
    assert.equal(await b.namespace.ask(addressOf(a, "lan"), 80), addressOf(b, "lan"));
    await controller.release(a.request.containerId);
    await controller.release(b.request.containerId);
    await controller.remove("lan");
    assert.match(sh("ip -o link show wire1"), /wire1/, "the user's link stays");
    sh("ip link del wire1");
  });

  test("what the kernel lacks is named, with what works instead", async () => {
    const kernel = sh("zcat /proc/config.gz 2>/dev/null || true");
    if (/# CONFIG_IPVLAN is not set/.test(kernel)) {
      await assert.rejects(wire("ip", {}, { Driver: "ipvlan" }), (error: Error & { hint?: string }) => {
        assert.match(error.message, /this kernel has no ipvlan links: CONFIG_IPVLAN/);
        assert.match(error.hint ?? "", /macvlan/);
        return true;
      });
    }
    if (/# CONFIG_VLAN_8021Q is not set/.test(kernel)) {
      await assert.rejects(
        wire("tagged", { parent: "eth0.50" }),
        /this kernel has no vlan links: CONFIG_VLAN_8021Q/,
      );
    }
    await assert.rejects(
      wire("x", { parent: "eth9.50" }),
      /parent interface was not found on the host: eth9/,
    );
    await assert.rejects(wire("x", { parent: "eth9" }), /invalid subinterface vlan name eth9/);
    assert.deepEqual(
      controller.list().map(({ Name }) => Name),
      ["host", "none"],
    );
  });

  test("a bridge of IPv6 alone: addresses, names and the way out are IPv6", async () => {
    const fields = { Driver: "bridge", EnableIPv4: false, EnableIPv6: true };
    await controller.create({ Name: "six", ...fields, IPAM: { Config: [{ Subnet: "fd00:db8:6::/64" }] } });
    const shown = controller.inspect("six");
    assert.deepEqual([shown.EnableIPv4, shown.EnableIPv6], [false, true]);
    assert.deepEqual(shown.IPAM.Config, [{ Subnet: "fd00:db8:6::/64", Gateway: "fd00:db8:6::1" }]);
    const [a, b] = [await run({ six: {} }), await run({ six: {} })];
    using _a = serving(await a.namespace.serve(80));
    assert.equal(addressOf(a, "six"), "");
    assert.equal(await b.namespace.sh("ip -4 -o addr show eth0"), "");
    assert.equal(await b.namespace.ask(address6Of(a, "six"), 80), address6Of(b, "six"));
    assert.match(a.sandbox.hosts, /^fd00:db8:6::2\t/m);
    assert.match(await a.namespace.sh("ip -6 route show default"), /via fd00:db8:6::1/);
    assert.match(
      controller.inspect("six").Containers[a.request.containerId]?.IPv6Address ?? "",
      /^fd00:.*\/64$/,
    );
  });
}
