/**
 * The firewall in a network laboratory, once with each back end and each variant of iptables: what is open and what is
 * not, for both families, what others flush and find, what is left. Needs root, iptables, nftables and iproute2.
 */
import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { createNetworkController, networkMigrations } from "#networks/controller.ts";
import { removeBridgeLink } from "#networks/drivers/bridge-link.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
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

const VARIANTS = ["iptables-nft", "iptables-legacy", "nftables"] as const;
const variant = process.env.BERTH_TEST_FIREWALL as (typeof VARIANTS)[number];

/** A directory whose `iptables` and so on are those of one variant, whatever the host has chosen. */
function programsOf(wanted: string): string {
  const directory = mkdtempSync(join(tmpdir(), "berth-firewall-"));
  for (const family of ["iptables", "ip6tables"]) {
    for (const verb of ["", "-save", "-restore"]) {
      const program = `/usr/sbin/${wanted.replace("iptables", family)}${verb}`;
      if (existsSync(program)) symlinkSync(program, join(directory, `${family}${verb}`));
    }
  }
  return directory;
}

const host = { 4: "192.0.2.2", 6: "2001:db8::2" };
const neighbourAt = { 4: "192.0.2.9", 6: "2001:db8::9" };
/** Given to the default bridge by the test. */
const gateway = "10.250.0.1";

interface Container {
  namespace: Namespace;
  sandbox: Sandbox;
  request: SandboxRequest;
}

if (!inLab) {
  for (const wanted of VARIANTS) {
    const name = `the firewall by ${wanted}`;
    test(name, { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
      const programs = programsOf(wanted === "nftables" ? "iptables-nft" : wanted);
      const { PATH } = process.env;
      process.env.BERTH_TEST_FIREWALL = wanted;
      process.env.PATH = `${programs}:${PATH}`;
      try {
        runInLab(import.meta.filename);
      } finally {
        process.env.PATH = PATH;
        rmSync(programs, { recursive: true });
      }
    });
  }
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-firewall-"));
  const containers: Container[] = [];
  let neighbour: Namespace;
  let database: Database;
  let controller: NetworkController;
  let untouched: string;

  before(async () => {
    sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    neighbour = await Namespace.make();
    await wireNeighbour(neighbour, host, neighbourAt);
    await neighbour.sh(`ip route add default via ${host[4]}; ip -6 route add default via ${host[6]}`);
    untouched = rules();
  });

  beforeEach(() => {
    database = Database.open(":memory:", [networkMigrations]);
  });

  afterEach(async () => {
    await endNetworks(controller, containers);
    // What a daemon leaves for its next start goes with the bridge's name.
    await start({ bridge: "none" });
    await controller.stop();
    assert.equal(rules(), untouched);
    await removeBridgeLink("bf0");
    database[Symbol.dispose]();
  });

  after(() => {
    neighbour[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  /** What there is of rules, but for the built-in chains and the one that is the host's users'. */
  function rules(): string {
    const saved = sh("iptables-save; ip6tables-save").replace(
      /^[#*].*\n|^COMMIT\n|^:[A-Z]+ [A-Z].*\n|^.*DOCKER-USER.*\n/gm,
      "",
    );
    return `${saved}${sh("nft list tables | grep berth || true")}`;
  }

  async function start(changes: Partial<NetworkOptions> = {}): Promise<void> {
    const options = networkOptions({
      execRoot: directory,
      bridge: "bf0",
      bip: `${gateway}/24`,
      firewallBackend: variant === "nftables" ? "nftables" : "iptables",
      ...changes,
    });
    controller = createNetworkController(database, options);
    await controller.start();
  }

  async function network(
    name: string,
    options: Record<string, string> = {},
    internal = false,
  ): Promise<void> {
    const prefixed = Object.entries(options).map(([key, value]) => [
      `com.docker.network.bridge.${key}`,
      value,
    ]);
    await controller.create({
      Name: name,
      EnableIPv6: true,
      Internal: internal,
      Options: Object.fromEntries(prefixed),
      IPAM: { Config: [{ Subnet: `10.25${name.length}.0.0/24` }, { Subnet: `fd00:${name.length}::/64` }] },
    });
  }

  async function run(mode: string, fields: Partial<SandboxRequest> = {}): Promise<Container> {
    const request = sandboxRequest({ mode, endpoints: mode === "bridge" ? {} : { [mode]: {} }, ...fields });
    const sandbox = await controller.allocate(request);
    const namespace = await Namespace.make();
    await namespace.execute(sandbox.program);
    controller.started(request.containerId, namespace.pid);
    const container = { namespace, sandbox, request };
    containers.push(container);
    return container;
  }

  function addressOf({ request }: Container, family: 4 | 6): string {
    const [endpoint] = Object.values(controller.settings(request.containerId)?.endpoints ?? {});
    return (family === 4 ? endpoint?.IPAddress : endpoint?.GlobalIPv6Address) ?? "";
  }

  const publish = (hostPort: string, ip = "", port = "80/tcp"): Partial<SandboxRequest> => ({
    portBindings: { [port]: [{ HostIp: ip, HostPort: hostPort }] },
  });

  const serving = async (where: Namespace | undefined, port: number): Promise<Disposable> => {
    const server: Server = where === undefined ? serve(port) : await where.serve(port);
    return { [Symbol.dispose]: () => void server.close() };
  };

  const FAMILIES = [4, 6] as const;

  test("published ports answer in both families; nothing else does", async () => {
    await start();
    await network("shop");
    await network("other");
    const web = await run("shop", publish("8080"));
    const local = await run("shop", publish("8081", "127.0.0.1"));
    const stranger = await run("other");
    using _web = await serving(web.namespace, 80);
    using _closed = await serving(web.namespace, 85);
    using _local = await serving(local.namespace, 80);
    using _world = await serving(neighbour, 83);
    for (const family of FAMILIES) {
      const own = addressOf(web, family);
      assert.equal(await neighbour.ask(host[family], 8080), neighbourAt[family], `a neighbour, ${family}`);
      assert.notEqual(await stranger.namespace.ask(host[family], 8080), "refused", `a container, ${family}`);
      assert.ok(await stranger.namespace.silent(own, 80), `another network, ${family}`);
      assert.ok(await neighbour.silent(own, 80), `by its address, ${family}`);
      assert.ok(await neighbour.silent(own, 85), `not published, ${family}`);
      assert.equal(await web.namespace.ask(neighbourAt[family], 83), host[family], `outward, ${family}`);
      assert.equal(await local.namespace.ask(own, 80), addressOf(local, family), `one another, ${family}`);
    }
    assert.equal(await ask("127.0.0.1", 8080), "10.254.0.1");
    assert.equal(await ask("127.0.0.1", 8081), "10.254.0.1");
    assert.equal(await ask(host[4], 8080), host[4]);
    assert.equal(await neighbour.ask(host[4], 8081), "refused");
  });

  test("an internal network has no way in or out", async () => {
    await start();
    await network("inner", {}, true);
    const a = await run("inner");
    const b = await run("inner");
    using _a = await serving(a.namespace, 80);
    using _world = await serving(neighbour, 83);
    await b.namespace.sh("ip route add default via 10.255.0.1; ip -6 route add default via fd00:5::1");
    for (const family of FAMILIES) {
      assert.equal(await b.namespace.ask(addressOf(a, family), 80), addressOf(b, family));
      assert.ok(await b.namespace.silent(neighbourAt[family], 83), `out, ${family}`);
      assert.ok(await neighbour.silent(addressOf(a, family), 80), `in, ${family}`);
    }
  });

  test("routed: by its own address, published ports alone; unprotected: all of them", async () => {
    await start();
    const mode = (value: string) => ({ gateway_mode_ipv4: value, gateway_mode_ipv6: value });
    await network("way", mode("routed"));
    await network("open", mode("nat-unprotected"));
    const routed = await run("way", publish("", "", "80/tcp"));
    const unprotected = await run("open", publish("8080"));
    using _routed80 = await serving(routed.namespace, 80);
    using _routed85 = await serving(routed.namespace, 85);
    using _open80 = await serving(unprotected.namespace, 80);
    using _open85 = await serving(unprotected.namespace, 85);
    using _world = await serving(neighbour, 83);
    for (const family of FAMILIES) {
      const address = addressOf(routed, family);
      assert.equal(await neighbour.ask(address, 80), neighbourAt[family], `published, ${family}`);
      assert.ok(await neighbour.silent(address, 85), `not published, ${family}`);
      assert.equal(await routed.namespace.ask(neighbourAt[family], 83), address, `no translation, ${family}`);
      assert.equal(await neighbour.ask(addressOf(unprotected, family), 85), neighbourAt[family]);
      assert.equal(await neighbour.ask(host[family], 8080), neighbourAt[family]);
    }
  });

  test("without icc, a link opens what is exposed, one way, and ends with either of the two", async () => {
    await start({ icc: false });
    const server = await run("bridge");
    const client = await run("bridge");
    const third = await run("bridge");
    using _server = await serving(server.namespace, 80);
    using _other = await serving(server.namespace, 85);
    using _back = await serving(client.namespace, 80);
    const address = addressOf(server, 4);
    assert.ok(await client.namespace.silent(address, 80));
    const peers = [{ containerId: server.request.containerId, exposedPorts: ["80/tcp"] }];
    await controller.permit(client.request.containerId, peers);
    assert.equal(await client.namespace.ask(address, 80), addressOf(client, 4));
    assert.ok(await client.namespace.silent(address, 85), "what is not exposed");
    assert.ok(await server.namespace.silent(addressOf(client, 4), 80), "the other way");
    assert.ok(await third.namespace.silent(address, 80), "who has no link");
    await controller.stop();
    await start({ icc: false });
    await controller.reconcile(
      new Map(containers.map(({ request, namespace }) => [request.containerId, { pid: namespace.pid }])),
    );
    assert.equal(await client.namespace.ask(address, 80), addressOf(client, 4), "after a restart");
    await controller.permit(client.request.containerId, []);
    assert.ok(await client.namespace.silent(address, 80), "closed again");
    await controller.permit(client.request.containerId, peers);
    await controller.release(server.request.containerId);
    await controller.stop();
    assert.doesNotMatch(
      `${rules()}${sh("nft list ruleset")}`,
      new RegExp(`${address}[ /]`),
      "ended with its peer",
    );
    await start({ icc: false });
  });

  test("what another program takes away is put back", async () => {
    await start();
    await network("shop");
    const web = await run("shop", publish("8080"));
    using _web = await serving(web.namespace, 80);
    const shown = () => `${rules().replace(/\[\d+:\d+\]|# handle \d+/g, "")}`;
    const before = shown();
    const flushes =
      variant === "nftables"
        ? ["nft flush ruleset", "nft delete table ip berth-bf0", "nft flush table ip6 berth-bf0"]
        : [
            "iptables -F; iptables -t nat -F",
            "iptables -t nat -F DOCKER",
            "ip6tables -t raw -F; ip6tables -t mangle -F; ip6tables -t nat -F; ip6tables -t nat -X",
          ];
    for (const flush of flushes) {
      sh(flush);
      await eventually(() => assert.equal(shown(), before));
      for (const family of FAMILIES) {
        assert.equal(await neighbour.ask(host[family], 8080), neighbourAt[family], `${flush}, ${family}`);
        assert.ok(await neighbour.silent(addressOf(web, family), 80), `${flush}, ${family}`);
      }
    }
  });

  test("a port costs one process with iptables and none with nftables, and so does giving back many", async () => {
    await start();
    const spawned: string[] = [];
    const note = (message: unknown): void => {
      const { name, process } = message as { name?: string; process?: { spawnfile: string } };
      spawned.push(name ?? process?.spawnfile ?? "");
    };
    const channels = [channel("child_process"), channel("berth.run-command")];
    for (const one of channels) one.subscribe(note);
    try {
      const requests = Array.from({ length: 8 }, (_, n) => sandboxRequest(publish(String(8100 + n))));
      const [first, ...others] = requests;
      assert.ok(first);
      await controller.allocate(first);
      const one = spawned.splice(0).length;
      assert.equal(one, variant === "nftables" ? 0 : 1);
      await Promise.all(others.map((request) => controller.allocate(request)));
      await Promise.all(requests.map(({ containerId }) => controller.release(containerId)));
      await controller.stop();
      assert.ok(spawned.length <= 6 * one, spawned.join());
    } finally {
      for (const one of channels) one.unsubscribe(note);
    }
    assert.ok(!rules().includes("8100"));
    await start();
  });

  if (variant !== "nftables") {
    test("Docker's chains lead to ours, and what others have put there stays", async () => {
      sh("iptables -t nat -N DOCKER; iptables -t nat -A DOCKER -i docker0 -j RETURN");
      sh("iptables -F; iptables -X; iptables -N DOCKER; iptables -N DOCKER-USER");
      sh("iptables -A DOCKER-USER -s 203.0.113.9 -j DROP");
      sh("iptables -A FORWARD -i wg0 -j ACCEPT; iptables -A FORWARD -j DOCKER-USER");
      const others = rules();
      await start();
      await network("shop");
      await run("shop", publish("8080"));
      assert.match(sh("iptables -t nat -L DOCKER -n"), /BERTH-br-[0-9a-f]{12}/);
      assert.match(sh("iptables -t nat -L -n"), /DNAT .*dpt:8080 to:10\.254\.0\.2:80/);
      const forward = sh("iptables -S FORWARD").trim().split("\n").slice(1);
      assert.deepEqual(forward, [
        "-A FORWARD -i wg0 -j ACCEPT",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -j DOCKER-FORWARD",
      ]);
      assert.equal(
        sh("iptables -S DOCKER-USER"),
        "-N DOCKER-USER\n-A DOCKER-USER -s 203.0.113.9/32 -j DROP\n",
      );
      sh(`iptables -I DOCKER-USER -s ${neighbourAt[4]} -j DROP`);
      const [web] = containers;
      assert.ok(web);
      using _web = await serving(web.namespace, 80);
      assert.ok(await neighbour.silent(host[4], 8080), "the user's chain is asked");
      sh(`iptables -D DOCKER-USER -s ${neighbourAt[4]} -j DROP`);
      assert.equal(await neighbour.ask(host[4], 8080), neighbourAt[4]);
      await controller.release(web.request.containerId);
      await controller.remove("shop");
      await controller.stop();
      await start({ bridge: "none" });
      const left = rules().replace(/^.*DOCKER-FORWARD.*\n|^.*--dst-type LOCAL -j DOCKER\n/gm, "");
      assert.equal(left, others, "beside dockerd, Docker's own chains stay with their jumps");
      sh("iptables -t nat -F; iptables -t nat -X; iptables -F; iptables -X; ip6tables -F; ip6tables -X");
    });
  }

  test("another back end's rules go when it is changed", async () => {
    await start();
    await network("shop");
    const web = await run("shop", publish("8080"));
    using _web = await serving(web.namespace, 80);
    await controller.stop();
    const changed = variant === "nftables" ? "iptables" : "nftables";
    await start({ firewallBackend: changed });
    const text = rules();
    assert.equal(/BERTH-/.test(text), changed === "iptables", text);
    assert.equal(/table ip berth-bf0/.test(text), changed === "nftables", text);
    await controller.reconcile(new Map([[web.request.containerId, { pid: web.namespace.pid }]]));
    assert.equal(await neighbour.ask(host[4], 8080), neighbourAt[4]);
  });
}
