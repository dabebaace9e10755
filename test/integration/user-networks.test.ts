/** Networks of users against the real kernel, in a network laboratory. Needs root, iptables and iproute2. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { EndpointSettings, NetworkCreateRequest } from "#api-types/network.ts";
import { createNetworkController, networkMigrations } from "#networks/controller.ts";
import { removeBridgeLink } from "#networks/drivers/bridge-link.ts";
import { removeBridgeRules } from "#networks/firewall/iptables-backend.ts";
import type { NetworkController, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { Database } from "#state/database.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import {
  ask,
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

const hostAddress = "192.0.2.2";
const neighbourAddress = "192.0.2.9";
const hostAddress6 = "2001:db8:1::2";
const neighbourAddress6 = "2001:db8:1::9";

interface Container {
  namespace: Namespace;
  sandbox: Sandbox;
  request: SandboxRequest;
  address: (network: string) => string;
  address6: (network: string) => string;
}

if (!inLab) {
  test("users' networks in a laboratory", { skip: process.getuid?.() === 0 ? false : "needs root" }, () =>
    runInLab(import.meta.filename),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-user-networks-"));
  const containers: Container[] = [];
  let neighbour: Namespace;
  let untouched = "";
  let database: Database;
  let controller: NetworkController;

  before(async () => {
    sh("ip link set lo up");
    neighbour = await Namespace.make();
    await wireNeighbour(
      neighbour,
      { 4: hostAddress, 6: hostAddress6 },
      { 4: neighbourAddress, 6: neighbourAddress6 },
    );
    await neighbour.sh(
      `ip route add default via ${hostAddress}; ip -6 route add default via ${hostAddress6}`,
    );
    for (const command of ["iptables", "ip6tables"]) {
      sh(`for t in raw mangle nat filter; do ${command} -t $t -L -n >/dev/null; done`);
    }
  });

  beforeEach(async () => {
    // A host that does not forward by itself, as after installation.
    sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    sh("iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT");
    database = Database.open(":memory:", [networkMigrations]);
    controller = make();
    await controller.start();
    untouched = inventory();
  });

  afterEach(async () => {
    await endNetworks(controller, containers);
    // Of users' networks nothing stays; the default bridge's things are as they were before the test.
    // The kernel takes its time over the links of namespaces that ended.
    await eventually(() => assert.equal(inventory(), untouched));
    await removeBridgeRules("bu0");
    await removeBridgeLink("bu0");
    database[Symbol.dispose]();
  });

  after(() => {
    neighbour[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  /** Links, routes, and rules of both families but for the counters and the chain that is the host's users'. */
  function inventory(): string {
    const clean = (text: string) =>
      text.replace(/^#.*\n|^\*.*\n|^COMMIT\n|^:[A-Z]+ .*\n|^.*DOCKER-USER.*\n/gm, "");
    const routes = sh("ip -4 route; ip -6 route | grep -v fe80 || true").replace(/ linkdown/g, "");
    return `${sh("ip -o link | awk '{ print $2 }'")}${routes}${clean(sh("iptables-save"))}${clean(sh("ip6tables-save"))}`;
  }

  function make(): NetworkController {
    const options = networkOptions({ execRoot: directory, bridge: "bu0", bip: "10.240.0.1/24" });
    return createNetworkController(database, options);
  }

  async function network(
    name: string,
    fields: NetworkCreateRequest = {},
    ...subnets: string[]
  ): Promise<void> {
    const Config = subnets.map((Subnet) => ({ Subnet }));
    await controller.create({ Name: name, ...fields, IPAM: { Config } });
  }

  type Wishes = Record<string, Partial<EndpointSettings>>;

  async function run(endpoints: Wishes, fields: Partial<SandboxRequest> = {}): Promise<Container> {
    const [mode = "bridge"] = Object.keys(endpoints);
    const request = sandboxRequest({ mode, endpoints, ...fields });
    const sandbox = await controller.allocate(request);
    const namespace = await Namespace.make();
    await namespace.execute(sandbox.program);
    controller.started(request.containerId, namespace.pid);
    const held = () => controller.settings(request.containerId)?.endpoints;
    const container = {
      namespace,
      sandbox,
      request,
      address: (name: string) => held()?.[name]?.IPAddress ?? "",
      address6: (name: string) => held()?.[name]?.GlobalIPv6Address ?? "",
    };
    containers.push(container);
    return container;
  }

  const publish = (host: string): Partial<SandboxRequest> => ({
    portBindings: { "80/tcp": [{ HostIp: "", HostPort: host }] },
  });

  const asDisposable = (server: Server): Disposable => ({ [Symbol.dispose]: () => void server.close() });

  test("a container that ends while it is connected is on no network afterwards, and holds no port", async () => {
    await network("brief", {}, "10.9.9.0/24");
    for (let turns = 0; turns < 20; turns++) {
      const { request } = await run({ bridge: {} }, publish("18089"));
      const connecting = controller.connect(
        { ...request, endpoints: { brief: { GwPriority: 1 } }, ...publish("18089") },
        "brief",
      );
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      await controller.release(request.containerId);
      await connecting.catch(() => undefined);
      assert.deepEqual(controller.inspect("brief").Containers, {});
    }
    await controller.remove("brief");
  });

  test("one network: each other, the host, the world; another network only by published ports", async () => {
    await network("shop", {}, "10.241.0.0/24");
    await network("bank", {}, "10.242.0.0/24");
    const a = await run({ shop: {} });
    const b = await run({ shop: {} }, publish("8080"));
    const c = await run({ bank: {} });
    const d = await run({ bridge: {} });
    using _b = asDisposable(await b.namespace.serve(80));
    using _world = asDisposable(await neighbour.serve(83));
    for (const nf of [0, 1]) {
      sh(`sysctl -qw net.bridge.bridge-nf-call-iptables=${nf}`);
      assert.equal(await a.namespace.ask(b.address("shop"), 80), a.address("shop"), "each other");
      assert.equal(await a.namespace.ask(neighbourAddress, 83), hostAddress, "the world");
      assert.ok(await c.namespace.silent(b.address("shop"), 80), "another user's network");
      assert.ok(await d.namespace.silent(b.address("shop"), 80), "the default bridge");
      assert.ok(await neighbour.silent(b.address("shop"), 80), "a neighbour");
      assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress, "a neighbour, published");
      assert.equal(await c.namespace.ask(hostAddress, 8080), "10.241.0.1", "another network, published");
      assert.equal(await d.namespace.ask(hostAddress, 8080), "10.241.0.1", "the default bridge, published");
      assert.equal(await ask("127.0.0.1", 8080), "10.241.0.1", "the host's loopback");
      assert.equal(await ask(b.address("shop"), 80), "10.241.0.1", "the host");
    }
    // What keeps the networks apart is the guard; without it the packets do arrive.
    sh("iptables -t mangle -F FORWARD; iptables -P FORWARD ACCEPT");
    assert.equal(await c.namespace.ask(b.address("shop"), 80), "10.241.0.1", "the path is there");
    sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
    await controller.stop();
    controller = make();
    await controller.start();
    await controller.reconcile(
      new Map(containers.map(({ request, namespace }) => [request.containerId, { pid: namespace.pid }])),
    );
    assert.ok(await c.namespace.silent(b.address("shop"), 80), "put back by the next daemon");
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
  });

  test("an internal network has no way in or out, and no default route; its containers reach each other", async () => {
    await network("inner", { Internal: true }, "10.241.0.0/24");
    const a = await run({ inner: {} }, publish("8080"));
    const b = await run({ inner: {} });
    using _a = asDisposable(await a.namespace.serve(80));
    using _world = asDisposable(await neighbour.serve(83));
    assert.deepEqual(a.sandbox.ports, {}, "nothing is published");
    assert.equal(await b.namespace.ask(a.address("inner"), 80), b.address("inner"));
    assert.doesNotMatch(await a.namespace.sh("ip route"), /default/);
    await a.namespace.sh("ip route add default via 10.241.0.1");
    assert.ok(await a.namespace.silent(neighbourAddress, 83), "not even with a route of its own");
    await neighbour.sh("ip route replace 10.241.0.0/24 via 192.0.2.2");
    assert.ok(await neighbour.silent(a.address("inner"), 80));
    await neighbour.sh("ip route del 10.241.0.0/24");
    assert.equal(await ask(a.address("inner"), 80), "10.241.0.1", "the host itself does");
  });

  test("an isolated network has not even the host on it", async () => {
    const Options = {
      "com.docker.network.bridge.gateway_mode_ipv4": "isolated",
      "com.docker.network.bridge.name": "sealed0",
    };
    await network("sealed", { Internal: true, Options }, "10.241.0.0/24");
    const a = await run({ sealed: {} });
    const b = await run({ sealed: {} });
    using _a = asDisposable(await a.namespace.serve(80));
    assert.equal(sh("ip -4 -o addr show sealed0"), "");
    assert.equal(await b.namespace.ask(a.address("sealed"), 80), b.address("sealed"));
    assert.notEqual(await ask(a.address("sealed"), 80, 400), "10.241.0.1");
  });

  test("without icc, containers of one network do not reach each other, with and without bridge filtering", async () => {
    for (const nf of [0, 1]) {
      sh(`sysctl -qw net.bridge.bridge-nf-call-iptables=${nf}`);
      const name = `quiet${nf}`;
      await network(
        name,
        { Options: { "com.docker.network.bridge.enable_icc": "false" } },
        `10.24${nf}.7.0/24`,
      );
      const a = await run({ [name]: {} });
      const b = await run({ [name]: {} });
      using _b = asDisposable(await b.namespace.serve(80));
      using _world = asDisposable(await neighbour.serve(83));
      assert.ok(await a.namespace.silent(b.address(name), 80), `bridge-nf ${nf}`);
      assert.equal(await a.namespace.ask(neighbourAddress, 83), hostAddress);
      assert.equal(await ask(b.address(name), 80), `10.24${nf}.7.1`);
    }
    sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
  });

  test("no masquerading, another mtu, a bridge's own name, a default address for ports", async () => {
    await network(
      "plain",
      {
        Options: {
          "com.docker.network.bridge.enable_ip_masquerade": "false",
          "com.docker.network.driver.mtu": "1400",
          "com.docker.network.bridge.name": "plain0",
          "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        },
      },
      "10.241.0.0/24",
    );
    const a = await run({ plain: {} }, publish("8080"));
    using _a = asDisposable(await a.namespace.serve(80));
    using _world = asDisposable(await neighbour.serve(83));
    assert.match(await a.namespace.sh("ip -o link show eth0"), /mtu 1400/);
    assert.match(sh("ip -o link show plain0"), /mtu 1400/);
    assert.equal(await a.namespace.ask(neighbourAddress, 83), a.address("plain"));
    assert.equal(await ask("127.0.0.1", 8080), "10.241.0.1");
    assert.equal(await neighbour.ask(hostAddress, 8080), "refused");
  });

  test("several networks: the way out and the ports are where priority says, and move with it", async () => {
    await network("alpha", {}, "10.241.0.0/24");
    await network("beta", {}, "10.242.0.0/24");
    const a = await run({ alpha: {}, beta: {} }, publish("8080"));
    using _a = asDisposable(await a.namespace.serve(80));
    const route = () => a.namespace.sh("ip route show default");
    assert.match(await route(), /via 10\.241\.0\.1 dev eth0/);
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
    await network("gamma", {}, "10.243.0.0/24");
    const wishes = { GwPriority: 5 };
    await controller.connect({ ...a.request, endpoints: { gamma: wishes } }, "gamma");
    assert.match(await route(), /via 10\.243\.0\.1 dev eth2/);
    assert.equal((await route()).trim().split("\n").length, 1);
    assert.match(sh("iptables-save -t nat"), /dport 8080 -j DNAT --to-destination 10\.243\.0\.2:80/);
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
    assert.equal(await a.namespace.ask(hostAddress, 8080), "10.243.0.1", "the container itself");
    await controller.disconnect(a.request, "gamma");
    assert.match(await route(), /via 10\.241\.0\.1 dev eth0/);
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
    await controller.disconnect(a.request, "alpha");
    await controller.disconnect(a.request, "beta");
    assert.equal(await route(), "");
    assert.equal(await ask("127.0.0.1", 8080), "refused");
    assert.deepEqual(database.all("SELECT * FROM network_address WHERE holder IS NOT NULL"), []);
    await controller.connect({ ...a.request, endpoints: { beta: {} } }, "beta");
    assert.match(await route(), /via 10\.242\.0\.1 dev eth0/);
    assert.equal(await ask("127.0.0.1", 8080), "10.242.0.1", "published again");
  });

  test("a connect that fails leaves the container as it was", async () => {
    await network("alpha", {}, "10.241.0.0/24");
    await network("beta", {}, "10.242.0.0/30");
    const a = await run({ alpha: {} }, publish("8080"));
    const full = await run({ beta: {} });
    using _a = asDisposable(await a.namespace.serve(80));
    const seen = await a.namespace.sh("ip -o addr; ip route");
    await assert.rejects(
      controller.connect({ ...a.request, endpoints: { beta: {} } }, "beta"),
      /no available IPv4/,
    );
    await assert.rejects(
      controller.connect(
        {
          ...a.request,
          endpoints: {
            bridge: {
              GwPriority: 9,
              DriverOpts: { "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.nosuch=1" },
            },
          },
        },
        "bridge",
      ),
      /nosuch/,
    );
    assert.equal(await a.namespace.sh("ip -o addr; ip route"), seen);
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
    assert.deepEqual(Object.keys(controller.settings(a.request.containerId)?.endpoints ?? {}), ["alpha"]);
    assert.ok(full.address("beta"));
  });

  test("a connect that cannot be stored is as if it had not been asked", async (t) => {
    await network("alpha", {}, "10.241.0.0/24");
    const a = await run({ bridge: {} });
    const { transaction } = database;
    t.mock.method(
      database,
      "transaction",
      (body: () => unknown) =>
        transaction.call(database, () => {
          body();
          throw new Error("database or disk is full");
        }),
      { times: 1 },
    );
    const connecting = () => controller.connect({ ...a.request, endpoints: { alpha: {} } }, "alpha");
    await assert.rejects(connecting, /disk is full/);
    assert.deepEqual(Object.keys(controller.settings(a.request.containerId)?.endpoints ?? {}), ["bridge"]);
    await connecting();
    assert.equal(a.address("alpha"), "10.241.0.2");
  });

  test("what one endpoint may ask: addresses, MAC, interface name, link-local addresses, sysctls", async () => {
    await network("shop", {}, "10.241.0.0/24");
    const a = await run({
      shop: {
        IPAMConfig: { IPv4Address: "10.241.0.99", LinkLocalIPs: ["169.254.8.8"] },
        MacAddress: "02:42:00:00:00:99",
        DriverOpts: {
          "com.docker.network.endpoint.ifname": "shop0",
          "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
        },
      },
    });
    const shown = await a.namespace.sh("ip addr show shop0; cat /proc/sys/net/ipv4/conf/shop0/log_martians");
    assert.match(shown, /02:42:00:00:00:99/);
    assert.match(shown, /inet 10\.241\.0\.99\/24/);
    assert.match(shown, /inet 169\.254\.8\.8\/16/);
    assert.match(shown, /^1$/m);
    await assert.rejects(run({ shop: { IPAMConfig: { IPv4Address: "10.241.0.99" } } }), {
      message: "Address already in use",
    });
  });

  test("IPv6: addresses, the way out, isolation; a network without it beside one that has it", async () => {
    await network("six", { EnableIPv6: true }, "10.241.0.0/24", "fd00:db8:6::/64");
    await network("four", {}, "10.242.0.0/24");
    await network("own", { EnableIPv6: true });
    assert.match(controller.inspect("own").IPAM.Config?.[1]?.Subnet ?? "", /^fd[0-9a-f]{2}:.*::\/64$/);
    const a = await run({ six: {} });
    const b = await run({ six: { IPAMConfig: { IPv6Address: "fd00:db8:6::77" } } });
    const c = await run({ own: {}, four: {} });
    assert.equal(a.address6("six"), "fd00:db8:6::2");
    assert.equal(b.address6("six"), "fd00:db8:6::77");
    using _b = asDisposable(await b.namespace.serve(80));
    using _world = asDisposable(await neighbour.serve(83));
    using _host = asDisposable(serve(84));
    assert.equal(await a.namespace.ask("fd00:db8:6::77", 80), "fd00:db8:6::2", "each other");
    assert.equal(await a.namespace.ask("fd00:db8:6::1", 84), "fd00:db8:6::2", "the host");
    assert.equal(await a.namespace.ask(neighbourAddress6, 83), hostAddress6, "the world");
    assert.ok(await c.namespace.silent("fd00:db8:6::77", 80), "another network");
    await neighbour.sh(`ip -6 route replace fd00:db8:6::/64 via ${hostAddress6}`);
    assert.ok(await neighbour.silent("fd00:db8:6::77", 80), "a neighbour");
    await neighbour.sh("ip -6 route del fd00:db8:6::/64");
    assert.match(await c.namespace.sh("ip -6 -o addr show eth0"), /inet6 fd/);
    assert.equal(await c.namespace.sh("ip -6 -o addr show eth1"), "", "none where the network has none");
    assert.match(await c.namespace.sh("ip -6 route show default"), /dev eth0/);
    await controller.connect({ ...a.request, endpoints: { own: { GwPriority: 1 } } }, "own");
    assert.match(await a.namespace.sh("ip -6 route show default"), /dev eth1/);
    assert.match(a.sandbox.hosts, /^fd00:db8:6::2\t/m);
  });

  test("many at once: every address once, every port there, and nothing left of them", async () => {
    await network("crowd", {}, "10.241.0.0/24");
    await network("other", {}, "10.242.0.0/24");
    const requests = Array.from({ length: 60 }, (_, number) =>
      sandboxRequest({
        mode: "crowd",
        endpoints: { crowd: {}, ...(number % 2 === 0 && { other: {} }) },
        ...publish(""),
      }),
    );
    const made = await Promise.all(requests.map((request) => controller.allocate(request)));
    const addresses = made.flatMap(({ endpoints }) =>
      Object.values(endpoints).map(({ IPAddress }) => IPAddress),
    );
    assert.equal(new Set(addresses).size, 90);
    const ports = made.map((sandbox) => sandbox.ports["80/tcp"]?.[0]?.HostPort);
    assert.equal(new Set(ports).size, 60);
    assert.equal(sh("iptables-save -t nat").match(/--to-destination 10\.241\.0\.\d+:80/g)?.length, 60);
    await assert.rejects(controller.remove("crowd"), { code: "forbidden" });
    await Promise.all(requests.map((request) => controller.release(request.containerId)));
    // Removed at once, while the rules of what was there are still being taken out.
    await Promise.all([controller.remove("crowd"), controller.remove("other")]);
    assert.deepEqual(database.all("SELECT * FROM network_address"), []);
    assert.throws(() => controller.inspect("crowd"), { code: "not-found" });
  });

  test("a network that cannot be set up again costs itself alone, and says so", async () => {
    await network("broken", { Options: { "com.docker.network.bridge.name": "broken0" } }, "10.241.0.0/24");
    await network("whole", {}, "10.242.0.0/24");
    await controller.stop();
    sh("ip link del broken0; ip link add broken0 type veth peer name broken1");
    controller = make();
    await controller.start();
    await controller.reconcile(new Map());
    await run({ whole: {} });
    await assert.rejects(run({ broken: {} }), /^BerthError: network broken could not be set up/);
    assert.deepEqual(
      database.all("SELECT holder FROM network_address WHERE holder IS NOT NULL").length,
      1,
      "nothing is held for the one that failed",
    );
    await controller.remove("broken");
    assert.match(
      sh("ip -o link show broken0"),
      /broken0/,
      "an interface that is no bridge is not ours to delete",
    );
    sh("ip link del broken0");
  });

  test("subnets are found that overlap nothing, of the host's or of other networks", async () => {
    sh("ip route add 172.17.0.0/16 dev eth0; ip route add 172.19.4.0/24 dev eth0");
    try {
      await network("auto1");
      await network("auto2");
      const subnets = ["auto1", "auto2"].map((name) => controller.inspect(name).IPAM.Config?.[0]?.Subnet);
      assert.deepEqual(subnets, ["172.18.0.0/16", "172.20.0.0/16"]);
      await assert.rejects(network("auto3", {}, "172.20.5.0/24"), /Pool overlaps with other one/);
    } finally {
      sh("ip route del 172.17.0.0/16 dev eth0; ip route del 172.19.4.0/24 dev eth0");
    }
  });
}
