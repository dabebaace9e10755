/** The network controller against the real kernel, in a network laboratory. Needs root, iptables and iproute2. */
import assert from "node:assert/strict";
import { channel } from "node:diagnostics_channel";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { createNetworkController, networkMigrations } from "#networks/controller.ts";
import { removeBridgeLink } from "#networks/drivers/bridge-link.ts";
import { removeBridgeRules } from "#networks/firewall/iptables-backend.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { Database } from "#state/database.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import {
  ask,
  inLab,
  Namespace,
  networkOptions,
  runInLab,
  sandboxRequest,
  serve,
  sh,
} from "#test/integration/network-lab.ts";

const hostAddress = "192.0.2.2";
const neighbourAddress = "192.0.2.9";

interface Daemon {
  controller: NetworkController;
  options: NetworkOptions;
  database: Database;
}

interface Container {
  namespace: Namespace;
  sandbox: Sandbox;
  request: SandboxRequest;
  address: string;
}

if (!inLab) {
  test("networks in a laboratory", { skip: process.getuid?.() === 0 ? false : "needs root" }, () =>
    runInLab(import.meta.filename),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-networks-"));
  const opened: Disposable[] = [];
  const daemons: Daemon[] = [];
  const containers: Container[] = [];
  let neighbour: Namespace;
  let untouched: string;

  before(async () => {
    sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1");
    neighbour = await Namespace.make();
    sh(
      `ip link add eth0 type veth peer name eth0 netns ${neighbour.pid};
       ip addr add ${hostAddress}/24 dev eth0; ip link set eth0 up`,
    );
    await neighbour.sh(
      `ip link set lo up; ip addr add ${neighbourAddress}/24 dev eth0; ip link set eth0 up;
       ip route add default via ${hostAddress}`,
    );
    // The built-in chains come to be with the first rule; make them, so that before and after can be compared.
    sh("for t in raw mangle nat filter; do iptables -t $t -L -n >/dev/null; done");
    untouched = inventory();
  });

  beforeEach(() => {
    sh("iptables -P FORWARD ACCEPT; sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0");
  });

  afterEach(cleanUp);

  after(() => {
    neighbour[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  /** Everything a network could leave behind. */
  function inventory(): string {
    const rules = sh("iptables-save").replace(/^#.*\n|^\*.*\n|^COMMIT\n|^:[A-Z]+ (ACCEPT|DROP).*\n/gm, "");
    return `${sh("ip -o link | awk '{ print $2 }'")}${sh("ip -4 route")}${rules.replace(/^.*DOCKER-USER.*\n/gm, "")}`;
  }

  async function cleanUp(): Promise<void> {
    for (const container of containers.splice(0)) await container.namespace.end();
    for (const { controller, options } of daemons.splice(0)) {
      await controller.stop();
      if (options.bridge === "none") continue;
      await removeBridgeRules(options.bridge);
      await removeBridgeLink(options.bridge);
    }
    for (const item of opened.splice(0)) item[Symbol.dispose]();
  }

  async function daemon(changes: Partial<NetworkOptions> = {}, database = openDatabase()): Promise<Daemon> {
    const options = networkOptions({ execRoot: directory, bridge: "bt0", ...changes });
    const controller = createNetworkController(database, options);
    const made = { controller, options, database };
    daemons.push(made);
    await controller.start();
    return made;
  }

  function openDatabase(): Database {
    const database = Database.open(":memory:", [networkMigrations]);
    opened.push(database);
    return database;
  }

  async function run(made: Daemon, fields: Partial<SandboxRequest> = {}): Promise<Container> {
    const request = sandboxRequest(fields);
    const sandbox = await made.controller.allocate(request);
    const namespace = await Namespace.make();
    await namespace.execute(sandbox.program);
    made.controller.started(request.containerId, namespace.pid);
    const address = sandbox.endpoints.bridge?.IPAddress ?? "";
    const container = { namespace, sandbox, request, address };
    containers.push(container);
    return container;
  }

  const publish = (host: string, container = "80/tcp", ip = ""): Partial<SandboxRequest> => ({
    portBindings: { [container]: [{ HostIp: ip, HostPort: host }] },
  });

  test("start makes bridge, networks and rules; again, it changes nothing", async () => {
    const first = await daemon();
    const names = first.controller.list().map((network) => [network.Name, network.Driver]);
    assert.deepEqual(names.sort(), [
      ["bridge", "bridge"],
      ["host", "host"],
      ["none", "null"],
    ]);
    const bridge = first.controller.inspect("bridge");
    assert.match(bridge.Id, /^[0-9a-f]{64}$/);
    assert.deepEqual(bridge.IPAM.Config, [{ Subnet: "172.17.0.0/16", Gateway: "172.17.0.1" }]);
    assert.equal(bridge.Options["com.docker.network.bridge.name"], "bt0");
    assert.match(sh("ip -4 -o addr show bt0"), /172\.17\.0\.1\/16 brd 172\.17\.255\.255/);
    const rules = sh("iptables-save | grep -v '^[#:]'");
    assert.match(rules, /-s 172\.17\.0\.0\/16 ! -o bt0 -j MASQUERADE/);
    const again = await daemon({}, first.database);
    assert.equal(sh("iptables-save | grep -v '^[#:]'"), rules);
    assert.equal(again.controller.inspect("bridge").Id, bridge.Id);
    assert.equal(again.controller.inspect(bridge.Id.slice(0, 8)).Name, "bridge");
    assert.throws(() => again.controller.inspect("x"), { code: "not-found", message: "network x not found" });
    await cleanUp();
  });

  test("containers reach the host, one another and the world; the world sees the host's address", async () => {
    const made = await daemon();
    const spawned: unknown[] = [];
    const note = (message: unknown): void => void spawned.push(message);
    channel("child_process").subscribe(note);
    const request = sandboxRequest();
    await made.controller.allocate(request);
    await made.controller.release(request.containerId);
    channel("child_process").unsubscribe(note);
    assert.deepEqual(spawned, [], "no process for a container without ports");
    const a = await run(made);
    const b = await run(made);
    assert.equal(a.sandbox.endpoints.bridge?.MacAddress, "02:42:ac:11:00:03");
    assert.match(await a.namespace.sh("ip -o link show eth0"), /02:42:ac:11:00:03/);
    assert.match(await a.namespace.sh("ip -o -4 addr show eth0"), /172\.17\.0\.3\/16 brd 172\.17\.255\.255/);
    assert.match(await a.namespace.sh("ip route"), /default via 172\.17\.0\.1 dev eth0/);
    assert.equal(await a.namespace.sh("ip -o -6 addr show eth0"), "", "no IPv6");
    assert.match(await a.namespace.sh("ip -o -6 addr show lo"), /::1/);
    assert.match(a.sandbox.hosts, new RegExp(`^172\\.17\\.0\\.3\t${a.request.hostname}$`, "m"));
    for (const nf of [0, 1]) {
      sh(
        `sysctl -qw net.bridge.bridge-nf-call-iptables=${nf}; iptables -P FORWARD ${nf ? "DROP" : "ACCEPT"}`,
      );
      using _b = asDisposable(await b.namespace.serve(81));
      assert.equal(await a.namespace.ask(b.address, 81), a.address, "one another");
      using _host = asDisposable(serve(82));
      assert.equal(await a.namespace.ask("172.17.0.1", 82), a.address, "the host");
      using _world = asDisposable(await neighbour.serve(83));
      assert.equal(await a.namespace.ask(neighbourAddress, 83), hostAddress, "the world");
    }
    const listed = made.controller.inspect("bridge").Containers[a.request.containerId];
    assert.deepEqual(listed, {
      Name: a.request.name,
      EndpointID: a.sandbox.endpoints.bridge?.EndpointID,
      MacAddress: "02:42:ac:11:00:03",
      IPv4Address: "172.17.0.3/16",
      IPv6Address: "",
    });
    await cleanUp();
  });

  test("a published port answers everywhere, and sees who asks", async () => {
    const made = await daemon();
    const web = await run(made, publish("8080"));
    const other = await run(made);
    assert.deepEqual(web.sandbox.ports, { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] });
    using _server = asDisposable(await web.namespace.serve(80));
    for (const nf of [0, 1]) {
      sh(
        `sysctl -qw net.bridge.bridge-nf-call-iptables=${nf}; iptables -P FORWARD ${nf ? "DROP" : "ACCEPT"}`,
      );
      const where = `bridge-nf ${nf}`;
      assert.equal(await ask("127.0.0.1", 8080), "172.17.0.1", `loopback, ${where}`);
      assert.equal(await ask(hostAddress, 8080), hostAddress, `own address, ${where}`);
      assert.equal(await ask("172.17.0.1", 8080), "172.17.0.1", `the bridge's address, ${where}`);
      assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress, `neighbour, ${where}`);
      assert.equal(await other.namespace.ask(hostAddress, 8080), "172.17.0.1", `container, ${where}`);
      assert.equal(await other.namespace.ask("172.17.0.1", 8080), "172.17.0.1", `by gateway, ${where}`);
      assert.equal(await web.namespace.ask(hostAddress, 8080), "172.17.0.1", `itself, ${where}`);
    }
    assert.match(
      sh("iptables -t nat -nL"),
      /DNAT +(tcp|6) +-- +0\.0\.0\.0\/0 +0\.0\.0\.0\/0 +tcp dpt:8080 to:172\.17\.0\.2:80/,
    );
    await made.controller.release(web.request.containerId);
    await made.controller.stop();
    assert.equal(await ask("127.0.0.1", 8080), "refused");
    assert.ok(!sh("iptables-save").includes("8080"));
    await cleanUp();
  });

  test("UDP ports, also for a client that sent before they were published", async () => {
    const made = await daemon();
    // A flow that never pauses: its entry would keep sending it to the host itself.
    const script = (port: number): string =>
      `exec timeout 60 python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.05)
s.bind(('0.0.0.0', 5555))
for n in range(600):
    try:
        s.sendto(b'x', ('${hostAddress}', ${port}))
        print(s.recv(10).decode()); break
    except OSError: pass
else: print('silent')"`;
    const client = `python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5555)); s.sendto(b'x', ('${hostAddress}', 5353))"`;
    await neighbour.sh(client);
    const box = await run(made, publish("5353", "53/udp"));
    const { execFile } = await import("node:child_process");
    const echo = await box.namespace.inside(() =>
      execFile("python3", [
        "-c",
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53))\nprint('up', flush=True)\nwhile True: s.sendto(b'pong', s.recvfrom(9)[1])",
      ]),
    );
    await new Promise((resolve) => echo.stdout?.once("data", resolve));
    try {
      assert.equal((await neighbour.sh(script(5353))).trim(), "pong");
      assert.equal(sh(script(5353)).trim(), "pong");
    } finally {
      echo.kill("SIGKILL");
    }
    await cleanUp();
  });

  test("containers cannot reach what listens on the host's loopback only", async () => {
    const made = await daemon();
    const a = await run(made);
    const server = createServer((socket) => socket.end("secret")).listen(84, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    using _server = asDisposable(server);
    await a.namespace.sh(
      `ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via 172.17.0.1 dev eth0;
       sysctl -qw net.ipv4.conf.eth0.route_localnet=1`,
    );
    assert.ok(await a.namespace.silent("127.0.0.1", 84));
    // The same packets do arrive where the rule is missing: the test sees what it means to see.
    sh("iptables -t raw -F BERTH-GUARD-bt0");
    assert.equal(await a.namespace.ask("127.0.0.1", 84), "secret");
    await cleanUp();
  });

  test("neighbours reach published ports only: no loopback ones, no container by its address", async () => {
    const made = await daemon();
    const local = await run(made, publish("8081", "80/tcp", "127.0.0.1"));
    const open = await run(made, publish("8082"));
    using _a = asDisposable(await local.namespace.serve(80));
    using _b = asDisposable(await open.namespace.serve(80));
    using _c = asDisposable(await open.namespace.serve(85));
    assert.equal(await ask("127.0.0.1", 8081), "172.17.0.1", "published on loopback");
    assert.equal(await ask(hostAddress, 8081), "refused");
    assert.equal(await neighbour.ask(hostAddress, 8081), "refused");
    assert.equal(await neighbour.ask(hostAddress, 8082), neighbourAddress);
    assert.ok(await neighbour.silent(open.address, 85), "unpublished port by container address");
    assert.ok(await neighbour.silent(open.address, 80), "published port by container address");
    const stranger = await Namespace.make();
    try {
      sh(
        `ip link add eth1 type veth peer name eth0 netns ${stranger.pid}; ip addr add 198.51.100.1/24 dev eth1; ip link set eth1 up`,
      );
      await stranger.sh(
        `ip addr add 198.51.100.9/24 dev eth0; ip link set eth0 up; sysctl -qw net.ipv4.conf.eth0.route_localnet=1;
         ip route add 127.0.0.1/32 via 198.51.100.1; ip route add 172.17.0.0/16 via 198.51.100.1`,
      );
      assert.ok(await stranger.silent("127.0.0.1", 8081), "martian for a loopback port");
      assert.ok(await stranger.silent(open.address, 85));
      sh("iptables -t mangle -F BERTH-GUARD-bt0");
      assert.equal(
        await stranger.ask(open.address, 85),
        "198.51.100.9",
        "the path is there but for the guard",
      );
    } finally {
      await stranger.end();
      sh("ip link delete eth1 2>/dev/null || true");
    }
    await cleanUp();
  });

  test("a port in use is refused with Docker's texts, and nothing is held", async () => {
    const made = await daemon();
    const first = await run(made, publish("8080"));
    const rules = sh("iptables-save -t nat | grep BERTH");
    const second = { ...sandboxRequest(publish("8080")), name: "second" };
    await assert.rejects(made.controller.allocate(second), (error: Error) => {
      assert.match(
        error.message,
        /^driver failed programming external connectivity on endpoint second \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated$/,
      );
      return true;
    });
    const server = serve(8090);
    await assert.rejects(made.controller.allocate({ ...second, ...publish("8090") }), (error: Error) => {
      assert.match(
        error.message,
        /: failed to bind host port for 0\.0\.0\.0:8090:172\.17\.0\.\d:80\/tcp: address already in use$/,
      );
      return true;
    });
    server.close();
    await assert.rejects(
      made.controller.allocate({ ...second, ...publish("8091", "80/tcp", "203.0.113.1") }),
      /cannot assign requested address$/,
    );
    assert.equal(made.controller.settings(second.containerId), undefined);
    assert.equal(sh("iptables-save -t nat | grep BERTH"), rules);
    const rows = made.database.all("SELECT * FROM network_address WHERE holder IS NOT NULL");
    assert.equal(rows.length, 1);
    const third = await run(made, publish("8090"));
    assert.match(third.address, /^172\.17\.0\.\d$/);
    await assert.rejects(listen(8090), { code: "EADDRINUSE" }, "held against other processes");
    await made.controller.release(first.request.containerId);
    await listen(8080);
    await cleanUp();
  });

  test("random ports, ranges, and publishing all exposed ports", async () => {
    const made = await daemon();
    const range = sh("cat /proc/sys/net/ipv4/ip_local_port_range").trim().split(/\s+/).map(Number);
    const a = await run(made, { exposedPorts: ["80/tcp", "53/udp"], publishAllPorts: true });
    for (const key of ["80/tcp", "53/udp"]) {
      const port = Number(a.sandbox.ports[key]?.[0]?.HostPort);
      assert.ok(port >= (range[0] ?? 0) && port <= (range[1] ?? 0), `${key} at ${port}`);
    }
    const b = await run(made, publish("9000-9001"));
    const c = await run(made, { ...publish("9000-9001"), exposedPorts: ["81/tcp"] });
    assert.equal(b.sandbox.ports["80/tcp"]?.[0]?.HostPort, "9000");
    assert.deepEqual(c.sandbox.ports, {
      "81/tcp": null,
      "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "9001" }],
    });
    await assert.rejects(made.controller.allocate(sandboxRequest(publish("9000-9001"))), /already allocated/);
    await cleanUp();
  });

  test("a killed daemon: the next keeps what runs, and clears what does not", async () => {
    const before = await daemon();
    const kept = await run(before, publish("8080"));
    const dead = await run(before, publish("8081"));
    using _server = asDisposable(await kept.namespace.serve(80));
    // As after SIGKILL: the sockets go, rows, rules and links stay. The dead one's link is held by its namespace.
    await before.controller.stop();
    const next = await daemon({}, before.database);
    assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress, "before it is known who runs");
    await next.controller.reconcile(new Map([[kept.request.containerId, { pid: kept.namespace.pid }]]));
    assert.deepEqual(next.controller.settings(kept.request.containerId)?.ports, kept.sandbox.ports);
    assert.equal(next.controller.settings(dead.request.containerId), undefined);
    assert.equal(await ask("127.0.0.1", 8080), "172.17.0.1");
    await assert.rejects(listen(8080), { code: "EADDRINUSE" });
    await assert.rejects(
      next.controller.allocate(sandboxRequest(publish("8080"))),
      /Bind for 0\.0\.0\.0:8080 failed: port is already allocated/,
    );
    const links = sh("ip -o link show master bt0").trim().split("\n");
    assert.equal(links.length, 1, "the dead container's link is gone");
    await run(next, publish("8081"));
    await next.controller.stop();
    assert.equal(sh("iptables-save -t nat").match(/--dport 8081/g)?.length, 1);
    await cleanUp();
  });

  test("two daemons side by side: both work, kept apart, and each leaves the other alone", async () => {
    const one = await daemon();
    const two = await daemon({ bridge: "bt1" });
    assert.equal(two.controller.inspect("bridge").IPAM.Config?.[0]?.Subnet, "172.18.0.0/16");
    const a = await run(one, publish("8080"));
    const b = await run(two, publish("8081"));
    using _a = asDisposable(await a.namespace.serve(80));
    using _b = asDisposable(await b.namespace.serve(80));
    assert.equal(await ask("127.0.0.1", 8080), "172.17.0.1");
    assert.equal(await ask("127.0.0.1", 8081), "172.18.0.1");
    assert.ok(await a.namespace.silent(b.address, 80), "not by address");
    assert.ok(await b.namespace.silent(a.address, 80), "not by address");
    assert.equal(await a.namespace.ask(hostAddress, 8081), "172.18.0.1", "by published port");
    await assert.rejects(two.controller.allocate(sandboxRequest(publish("8080"))), /address already in use/);
    await removeBridgeRules("bt0");
    assert.equal(await ask("127.0.0.1", 8081), "172.18.0.1");
    assert.ok(!sh("iptables-save").includes("bt0"));
    await cleanUp();
  });

  test("beside another engine: its chains and bridge are left alone and keep containers apart", async () => {
    sh(
      `ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up;
       iptables -N DOCKER; iptables -N DOCKER-USER 2>/dev/null || true; iptables -A DOCKER-USER -j RETURN; iptables -P FORWARD DROP;
       iptables -A FORWARD -j DOCKER-USER;
       iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT;
       iptables -A FORWARD -o docker0 -j DOCKER; iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`,
    );
    const foreign = await Namespace.make();
    try {
      sh(`ip link add dv0 master docker0 type veth peer name eth0 netns ${foreign.pid}; ip link set dv0 up`);
      await foreign.sh(
        "ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 172.17.0.1",
      );
      const made = await daemon();
      assert.equal(made.controller.inspect("bridge").IPAM.Config?.[0]?.Subnet, "172.18.0.0/16");
      const web = await run(made, publish("8080"));
      using _web = asDisposable(await web.namespace.serve(80));
      using _foreign = asDisposable(await foreign.serve(80));
      assert.equal(await neighbour.ask(hostAddress, 8080), neighbourAddress);
      assert.equal(await foreign.ask(hostAddress, 8080), "172.17.0.2", "published: from its containers too");
      assert.ok(await web.namespace.silent("172.17.0.2", 80), "into its network");
      assert.ok(await foreign.silent(web.address, 80), "into ours");
      // The other engine starts again and puts itself first.
      sh("iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT");
      assert.ok(await foreign.silent(web.address, 80), "into ours, whatever the order");
      sh(`iptables -I DOCKER-USER -s ${neighbourAddress} -j DROP`);
      assert.ok(await neighbour.silent(hostAddress, 8080), "the user's own chain is asked");
      await daemon({}, made.database);
      assert.ok(await neighbour.silent(hostAddress, 8080), "and outlives a restart");
    } finally {
      await foreign.end();
      await cleanUp();
      sh(
        `ip link delete docker0; iptables -F FORWARD; iptables -F DOCKER-USER; iptables -X DOCKER; iptables -P FORWARD ACCEPT`,
      );
    }
  });

  test("icc=false keeps containers apart but for published ports", async () => {
    for (const nf of [0, 1]) {
      sh(`sysctl -qw net.bridge.bridge-nf-call-iptables=${nf}`);
      const made = await daemon({ icc: false });
      const a = await run(made, publish("8080"));
      const b = await run(made);
      using _a = asDisposable(await a.namespace.serve(80));
      assert.ok(await b.namespace.silent(a.address, 80), `bridge-nf ${nf}`);
      assert.equal(await b.namespace.ask(hostAddress, 8080), "172.17.0.1", `bridge-nf ${nf}`);
      await cleanUp();
    }
  });

  test("with iptables=false the firewall is not touched and ports are refused", async () => {
    const rules = sh("iptables-save | grep -v '^#'");
    const made = await daemon({ iptables: false });
    const a = await run(made);
    using _a = asDisposable(await a.namespace.serve(80));
    assert.equal(await ask(a.address, 80), "172.17.0.1");
    await assert.rejects(
      made.controller.allocate(sandboxRequest(publish("8080"))),
      /driver failed programming external connectivity on endpoint .* with neither firewall nor port proxy/,
    );
    assert.equal(sh("iptables-save | grep -v '^#'"), rules);
    assert.equal(sh("cat /proc/sys/net/ipv4/conf/bt0/route_localnet").trim(), "0");
    await cleanUp();
  });

  test("a host that did not route does not become a router for everybody", async () => {
    sh("sysctl -qw net.ipv4.ip_forward=0");
    const made = await daemon();
    assert.match(sh("iptables -S FORWARD"), /^-P FORWARD DROP/);
    const a = await run(made);
    using _world = asDisposable(await neighbour.serve(83));
    assert.equal(await a.namespace.ask(neighbourAddress, 83), hostAddress);
    await cleanUp();
  });

  test("none, host, and another container's network", async () => {
    const made = await daemon();
    const none = await run(made, { mode: "none" });
    assert.match(await none.namespace.sh("ip -o addr"), /^1: lo .*127\.0\.0\.1/);
    assert.equal((await none.namespace.sh("ip -o link")).trim().split("\n").length, 1);
    const host = await made.controller.allocate(sandboxRequest({ mode: "host" }));
    assert.deepEqual(host.namespace, { kind: "host" });
    assert.deepEqual(host.program, { host: [], container: [], sysctls: {} });
    assert.ok(host.endpoints.host?.EndpointID);
    const web = await run(made);
    const joined = await made.controller.allocate(
      sandboxRequest({ mode: `container:${web.request.containerId}` }),
    );
    assert.equal(joined.namespace.kind, "path");
    const path = joined.namespace.kind === "path" ? joined.namespace.path : "";
    assert.match(sh(`nsenter --net=${path} ip -o -4 addr show eth0`), new RegExp(web.address));
    await assert.rejects(
      made.controller.allocate(sandboxRequest({ mode: "container:nobody" })),
      /cannot join network of a non running container: nobody/,
    );
    await assert.rejects(
      made.controller.allocate(sandboxRequest({ mode: "nowhere" })),
      /network nowhere not found/,
    );
    await made.controller.release(web.request.containerId);
    await made.controller.release(web.request.containerId);
    await cleanUp();
  });

  test("bip, fixed-cidr, a bridge of the user's, and no bridge", async () => {
    const fixed = await daemon({ bip: "10.50.0.9/24", fixedCidr: "10.50.0.128/30" });
    assert.deepEqual(fixed.controller.inspect("bridge").IPAM.Config, [
      { Subnet: "10.50.0.0/24", IPRange: "10.50.0.128/30", Gateway: "10.50.0.9" },
    ]);
    assert.equal((await run(fixed)).address, "10.50.0.128");
    await fixed.controller.stop();
    await daemon({ bip: "10.51.0.1/24" }, fixed.database);
    assert.doesNotMatch(sh("ip -4 -o addr show bt0"), /10\.50/);
    await cleanUp();
    sh("ip link add bt2 type bridge; ip addr add 10.60.0.7/24 dev bt2");
    const users = await daemon({ bridge: "bt2" });
    assert.deepEqual(users.controller.inspect("bridge").IPAM.Config, [
      { Subnet: "10.60.0.0/24", Gateway: "10.60.0.7" },
    ]);
    await cleanUp();
    const without = await daemon({ bridge: "none" });
    assert.ok(!without.controller.list().some((network) => network.Name === "bridge"));
    const lonely = await run(without, { mode: "default" });
    assert.deepEqual(Object.keys(lonely.sandbox.endpoints), ["none"]);
    await cleanUp();
    await assert.rejects(daemon({ bip: "10.50.0.0/24" }), { code: "invalid" });
    daemons.length = 0;
  });

  test("a link ends with its namespace; nothing of all this is left", async () => {
    const made = await daemon();
    const many: Container[] = [];
    for (let n = 0; n < 5; n++) many.push(await run(made, n % 2 ? publish("") : {}));
    assert.equal(sh("ip -o link show master bt0").trim().split("\n").length, 5);
    await Promise.all(many.map((container) => container.namespace.end()));
    await Promise.all(many.map((container) => made.controller.release(container.request.containerId)));
    await made.controller.stop();
    await eventually(() => assert.equal(sh("ip -o link show master bt0"), ""));
    const held = made.database.all("SELECT * FROM network_address WHERE holder IS NOT NULL");
    assert.deepEqual([held, made.database.all("SELECT * FROM network_sandbox")], [[], []]);
    assert.equal(sh("iptables-save -t nat").match(/-j DNAT/g), null);
    await cleanUp();
    // Links of namespaces that have just ended go when the kernel gets to it.
    await eventually(() => assert.equal(inventory(), untouched));
  });

  function asDisposable(server: { close(): unknown }): Disposable {
    return { [Symbol.dispose]: () => void server.close() };
  }

  /** Listens as most servers do (with SO_REUSEADDR), on IPv4, and closes again. */
  async function listen(port: number): Promise<void> {
    const server = createServer().listen(port, "0.0.0.0");
    await new Promise((resolve, reject) => server.once("listening", resolve).once("error", reject));
    await new Promise((resolve) => server.close(resolve));
  }
}
