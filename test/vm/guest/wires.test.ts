/**
 * Networks on a wire of the host's with what not every kernel has: ipvlan in its modes, 802.1q, links that lead nowhere.
 * Runs in the virtual machine; wire0 is a link with a neighbour at its other end.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { EndpointSettings, IpamConfig } from "#api-types/network.ts";
import { createVethPair, createVlan, probeChildKind } from "#kernel/netlink/child-link-messages.ts";
import { deleteLink, moveLink } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { createNetworkController, networkMigrations } from "#networks/controller.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import type { NetworkController, SandboxRequest } from "#networks/network-types.ts";
import { Database } from "#state/database.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { ask, Namespace, networkOptions, sandboxRequest, serve, sh } from "#test/integration/network-lab.ts";

const EOPNOTSUPP = 95;
const HOST = "192.0.2.2";
const NEIGHBOUR = "192.0.2.9";
const LAN: IpamConfig = { Subnet: "192.0.2.0/24", Gateway: NEIGHBOUR, AuxiliaryAddresses: { host: HOST } };
const FAR: IpamConfig = { Subnet: "10.9.0.0/24" };

function linkOf(name: string): number {
  using netlink = new NetlinkSocket();
  return findLink(netlink, name)?.index ?? 0;
}

function missing(): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  using netlink = new NetlinkSocket();
  const lacks = (["ipvlan", "vlan"] as const).filter(
    (kind) => netlink.tryRequest(probeChildKind(kind)) === EOPNOTSUPP,
  );
  return lacks.length > 0 && `this kernel has no ${lacks.join(", no ")}`;
}

interface Container {
  namespace: Namespace;
  request: SandboxRequest;
  endpoint: Partial<EndpointSettings>;
  address: string;
}

describe("networks on a wire", { skip: missing() }, () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-wires-"));
  const containers: Container[] = [];
  let neighbour: Namespace;
  let database: Database;
  let controller: NetworkController;

  before(async () => {
    neighbour = await Namespace.make();
    using netlink = new NetlinkSocket();
    netlink.request(createVethPair("wire0", "wire1"));
    const moved = moveLink(linkOf("wire1"), { name: "eth0", index: 16 });
    moved.bytes.writeUInt32LE(neighbour.pid, moved.pidAt);
    netlink.request(moved.bytes);
    sh(`ip addr add ${HOST}/24 dev wire0; ip link set wire0 up`);
    await neighbour.sh(
      `ip link set lo up; ip addr add ${NEIGHBOUR}/24 dev eth0; ip link set eth0 up; ip route add 10.9.0.0/24 via ${HOST}`,
    );
  });

  beforeEach(async () => {
    database = Database.open(":memory:", [networkMigrations]);
    const options = networkOptions({ execRoot: directory, bridge: "none", iptables: false });
    controller = createNetworkController(database, options);
    await controller.start();
  });

  afterEach(async () => {
    for (const { namespace, request } of containers.splice(0)) {
      await controller.release(request.containerId);
      await namespace.end();
    }
    for (const { Name } of controller.list()) {
      if (!["host", "none"].includes(Name)) await controller.remove(Name);
    }
    await controller.stop();
    database[Symbol.dispose]();
  });

  after(() => {
    neighbour[Symbol.dispose]();
    using netlink = new NetlinkSocket();
    netlink.tryRequest(deleteLink(linkOf("wire0")));
    rmSync(directory, { recursive: true });
  });

  async function make(name: string, driver: string, options: Record<string, string>, pool: IpamConfig) {
    const request = { Name: name, Driver: driver, Options: { parent: "wire0", ...options } };
    // Links of containers that have just ended may keep the parent for a moment.
    await controller.create({ ...request, IPAM: { Config: [pool] } });
  }

  async function run(network: string, wishes: Partial<EndpointSettings> = {}): Promise<Container> {
    const request = sandboxRequest({ mode: network, endpoints: { [network]: wishes } });
    const sandbox = await controller.allocate(request);
    const namespace = await Namespace.make();
    const endpoint: Partial<EndpointSettings> = sandbox.endpoints[network] ?? {};
    const container = { namespace, request, endpoint, address: endpoint.IPAddress ?? "" };
    containers.push(container);
    // The parent is macvlan's or ipvlan's until the last link of the other kind is gone.
    await eventually(() => namespace.execute(sandbox.program));
    controller.started(request.containerId, namespace.pid);
    return container;
  }

  const serving = (server: Server): Disposable => ({ [Symbol.dispose]: () => void server.close() });

  it("ipvlan l2: the parent's MAC address, each other, the neighbour, not the host", async () => {
    await make("lan", "ipvlan", {}, LAN);
    const [a, b] = [await run("lan"), await run("lan")];
    assert.equal(a.endpoint.MacAddress, "");
    assert.equal(a.endpoint.Gateway, NEIGHBOUR);
    using _a = serving(await a.namespace.serve(80));
    using _n = serving(await neighbour.serve(83));
    using _h = serving(serve(84));
    assert.equal(await b.namespace.ask(a.address, 80), b.address, "each other");
    assert.equal(await b.namespace.ask(NEIGHBOUR, 83), b.address, "the neighbour");
    assert.equal(await neighbour.ask(a.address, 80), NEIGHBOUR, "from the neighbour");
    assert.ok(await b.namespace.silent(HOST, 84), "not the host");
    await assert.rejects(
      make("second", "ipvlan", {}, FAR),
      /network di-[0-9a-f]{12} is already using parent interface wire0/,
    );
    await assert.rejects(make("second", "macvlan", {}, FAR), /is already using parent interface wire0/);
    await assert.rejects(
      run("lan", { MacAddress: "02:aa:00:00:00:01" }),
      /do not support custom mac address/,
    );
  });

  for (const mode of ["l3", "l3s"]) {
    it(`ipvlan ${mode}: a subnet of its own behind the host's address, without a gateway`, async () => {
      await make("far", "ipvlan", { ipvlan_mode: mode }, FAR);
      const [a, b] = [await run("far"), await run("far")];
      assert.equal(a.endpoint.Gateway, "");
      assert.match(await a.namespace.sh("ip route"), /^default dev eth0/m);
      using _a = serving(await a.namespace.serve(80));
      using _n = serving(await neighbour.serve(83));
      assert.equal(await b.namespace.ask(a.address, 80), b.address, "each other");
      assert.equal(await b.namespace.ask(NEIGHBOUR, 83), b.address, "the neighbour");
      assert.equal(await neighbour.ask(a.address, 80), NEIGHBOUR, "from the neighbour");
    });
  }

  it("joining and leaving while the container runs moves the way out", async () => {
    await make("far", "ipvlan", { ipvlan_mode: "l3" }, FAR);
    await make("none2", "macvlan", { parent: "" }, { Subnet: "10.10.0.0/24" });
    const a = await run("none2");
    assert.doesNotMatch(await a.namespace.sh("ip route"), /default/);
    await controller.connect({ ...a.request, endpoints: { far: {} } }, "far");
    assert.match(await a.namespace.sh("ip route"), /^default dev eth1/m);
    await controller.disconnect(a.request, "far");
    assert.doesNotMatch(await a.namespace.sh("ip route"), /default/);
    assert.doesNotMatch(await a.namespace.sh("ip link"), /eth1/);
  });

  it("ipvlan private: the neighbour, and not each other", async () => {
    await make("lonely", "ipvlan", { ipvlan_flag: "private" }, LAN);
    const [a, b] = [await run("lonely"), await run("lonely")];
    using _a = serving(await a.namespace.serve(80));
    assert.equal(await neighbour.ask(a.address, 80), NEIGHBOUR);
    assert.ok(await b.namespace.silent(a.address, 80));
  });

  it("without a parent: a dummy that goes with the network", async () => {
    for (const [driver, prefix] of [["ipvlan", "di"] as const, ["macvlan", "dm"] as const]) {
      await make("alone", driver, { parent: "" }, FAR);
      const parent = `${prefix}-${controller.inspect("alone").Id.slice(0, 12)}`;
      assert.match(sh(`ip link show ${parent}`), /UP/);
      const [a, b] = [await run("alone"), await run("alone")];
      using _a = serving(await a.namespace.serve(80));
      assert.equal(await b.namespace.ask(a.address, 80), b.address);
      assert.match(await ask(a.address, 80, 300), /silent|failed/, "no way in");
      for (const { namespace, request } of containers.splice(0)) {
        await controller.release(request.containerId);
        await namespace.end();
      }
      await controller.remove("alone");
      assert.equal(linkOf(parent), 0);
    }
  });

  it("802.1q: a sub-interface that is made for the network, shared, and gone with the last one on it", async () => {
    await neighbour.inside(() => {
      using netlink = new NetlinkSocket();
      netlink.request(createVlan({ name: "eth0.50", parent: 16, id: 50 }));
      sh("ip addr add 10.50.0.9/24 dev eth0.50; ip link set eth0.50 up");
    });
    await make("tagged", "macvlan", { parent: "wire0.50" }, { Subnet: "10.50.0.0/24" });
    await make("beside", "macvlan", { parent: "wire0.50" }, { Subnet: "10.51.0.0/24" });
    const a = await run("tagged");
    using _a = serving(await a.namespace.serve(80));
    assert.equal(await neighbour.ask(a.address, 80), "10.50.0.9");
    for (const { namespace, request } of containers.splice(0)) {
      await controller.release(request.containerId);
      await namespace.end();
    }
    await controller.remove("tagged");
    assert.notEqual(linkOf("wire0.50"), 0, "another is on it");
    await controller.remove("beside");
    assert.equal(linkOf("wire0.50"), 0);
    assert.notEqual(linkOf("wire0"), 0);
  });
});
