/**
 * Networks over a daemon's end and its replacement: traffic does not notice, what is lost meanwhile is put back, and what
 * containers have left that died meanwhile is taken away. In a laboratory, whose host's rules are nobody else's.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestNamespace } from "#networks/dns/testing/namespace.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Flow, serveEcho } from "#test/fixtures/flows.ts";
import { ask, inLab, Namespace, runInLab, sh } from "#test/integration/network-lab.ts";

const IMAGE = "berth/busybox";
const HOST = "192.0.2.2";
const PORT = 9000;

if (!inLab) {
  test("networks over the daemon's end, in a laboratory", () => runInLab(import.meta.filename));
} else {
  let daemon: TestDaemon;
  let neighbour: Namespace;
  before(async () => {
    sh("ip link set lo up");
    neighbour = await Namespace.make();
    sh(`ip link add eth0 type veth peer name eth0 netns ${neighbour.pid}; ip address add ${HOST}/24 dev eth0
        ip link set eth0 up`);
    await neighbour.sh(`ip link set lo up; ip address add 192.0.2.9/24 dev eth0; ip link set eth0 up
                        ip route add default via ${HOST}`);
    daemon = await TestDaemon.start({ subnet: 73 });
    daemon.loadBusybox();
  });
  after(async () => {
    await daemon.stop();
    await neighbour.end();
  });

  const ok = (...args: string[]) => daemon.ok(...args);
  const run = (name: string, ...options: string[]) =>
    ok("run", "-d", "--name", name, ...options, IMAGE, "sleep", "1000");
  const pidOf = (name: string) => Number(ok("inspect", "-f", "{{.State.Pid}}", name));

  test("a stream and a train of datagrams through a published port, from outside and through loopback, go on", async () => {
    run("echo", "-p", `8000:${PORT}`, "-p", `8000:${PORT}/udp`);
    using _server = await serveEcho(pidOf("echo"), PORT);
    const flows = [
      new Flow(neighbour.pid, "tcp", HOST, 8000),
      new Flow(neighbour.pid, "udp", HOST, 8000),
      new Flow(process.pid, "tcp", "127.0.0.1", 8000),
      new Flow(process.pid, "udp", "127.0.0.1", 8000),
      new Flow(process.pid, "tcp", HOST, 8000),
    ];
    try {
      const allGoOn = () => Promise.all(flows.map((flow) => flow.goesOn()));
      await allGoOn();
      for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
        await daemon.kill(signal);
        await allGoOn();
        await daemon.boot();
        await allGoOn();
      }
      const results = await Promise.all(flows.map((flow) => flow.end()));
      for (const [index, result] of results.entries()) assert.match(result, /^done \d+$/, flows[index]?.name);
    } finally {
      for (const flow of flows) flow[Symbol.dispose]();
      ok("rm", "-f", "echo");
    }
  });

  test("what was lost while no daemon was there is back, and what died meanwhile has left nothing", async () => {
    ok("network", "create", "shop");
    run("stays", "-p", `8001:${PORT}`);
    run("dies", "-p", `8002:${PORT}`);
    run("cut", "-p", `8003:${PORT}`);
    run("seller", "--network", "shop");
    run("buyer", "--network", "shop");
    run("gone", "--network", "shop", "-p", `8004:${PORT}`);
    const links = () => linkNames().filter((name) => name.startsWith("veth"));
    const namespaces = () => readdirSync(join(daemon.execRoot, "netns")).length;
    assert.deepEqual([links().length, namespaces()], [6, 6]);
    const stays = pidOf("stays");
    using _server = await serveEcho(stays, PORT);
    using buyer = new TestNamespace(pidOf("buyer"));
    const seller = ok("inspect", "-f", "{{.NetworkSettings.Networks.shop.IPAddress}}", "seller");
    assert.deepEqual(await buyer.dig("seller"), [seller]);
    const [victims, cut] = [["dies", "gone"].map(pidOf), pidOf("cut")];
    const index = /eth0@if(\d+)/.exec(sh(`nsenter -t ${cut} -n ip -o link show eth0`))?.[1];
    const before = rules();
    await daemon.kill("SIGKILL");
    for (const pid of victims) process.kill(pid, "SIGKILL");
    await eventually(() => assert.ok(victims.every((pid) => !existsSync(`/proc/${pid}/ns`))));
    sh(`ip link delete $(ip -o link | sed -n 's/^${index}: \\([^@:]*\\).*/\\1/p')`);
    for (const table of ["filter", "nat", "mangle", "raw"])
      sh(`iptables -t ${table} -F; iptables -t ${table} -X || true`);
    await daemon.boot();

    assert.equal(ok("ps", "--format", "{{.Names}}").split("\n").sort().join(" "), "buyer cut seller stays");
    await eventually(() => assert.deepEqual([links().length, namespaces()], [3, 4]));
    assert.deepEqual(await buyer.dig("seller"), [seller]);
    assert.deepEqual(await buyer.dig("gone"), []);
    using flow = new Flow(neighbour.pid, "tcp", HOST, 8001);
    await flow.goesOn();
    assert.match(await flow.end(), /^done/);
    for (const port of [8002, 8004]) {
      assert.equal(await ask("127.0.0.1", port), "refused");
      assert.equal(await neighbour.ask(HOST, port), "refused");
    }
    // Ports and addresses of the dead are anybody's again.
    run("heir", "-p", `8002:${PORT}`, "-p", `8004:${PORT}`);
    await eventually(() => {
      const missing = before.filter((line) => !/800[24]/.test(line) && !rules().includes(line));
      assert.deepEqual(missing, []);
    });
    ok("rm", "-f", "stays", "dies", "cut", "seller", "buyer", "gone", "heir");
    ok("network", "rm", "shop");
    await eventually(() => {
      assert.deepEqual([links().length, namespaces()], [0, 0]);
      assert.deepEqual(
        rules().filter((line) => /dport|br-[0-9a-f]/.test(line)),
        [],
      );
      assert.deepEqual(linkNames().sort(), [daemon.bridge, "eth0", "lo"].sort());
    });
  });

  /** Of this namespace: /sys shows those of the one it was mounted in. */
  function linkNames(): string[] {
    return sh("ip -o link")
      .trim()
      .split("\n")
      .map((line) => /^\d+: ([^@:]+)/.exec(line)?.[1] ?? line);
  }

  /** Without counters, which are not the daemon's. */
  function rules(): string[] {
    return sh("iptables-save")
      .split("\n")
      .filter((line) => line.startsWith("-A"));
  }
}
