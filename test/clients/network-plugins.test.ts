/** Networks and addresses of plugins, by the real command line: a plugin's links in containers, packets through them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { NetworkPluginProcess } from "#test/fixtures/network-plugin.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
let plugin: NetworkPluginProcess;
let number: string;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 71 });
  // The daemon has claimed it for its bridge.
  number = daemon.gateway.split(".")[2] ?? "";
  plugin = await NetworkPluginProcess.start(
    join(daemon.execRoot, "plugins/far.sock"),
    join(daemon.directory, "plugin-calls"),
    number,
  );
  daemon.loadBusybox();
});
after(async () => {
  await daemon.stop();
  await plugin[Symbol.asyncDispose]();
});

const ok = (...args: string[]) => daemon.ok(...args);
const format = (what: string, name: string) => ok("inspect", "-f", what, name);

/** Under load a new link takes its time. */
function reaches(container: string, address: string): void {
  const script = `for i in 1 2 3 4 5; do ping -c1 -W3 ${address} && exit 0; done; exit 1`;
  ok("exec", container, "sh", "-c", script);
}

function failure(...args: string[]): string {
  const { code, stderr } = daemon.docker(...args);
  assert.notEqual(code, 0, `docker ${args.join(" ")} should have failed`);
  return stderr;
}

const asked = (method: string) =>
  plugin.calls.filter((call) => call.method === method).map((call) => call.asked);

test("a plugin's network, with a plugin's addresses: its link is in the container, packets flow", async () => {
  const id = ok(
    "network",
    "create",
    "-d",
    "far",
    "--ipam-driver",
    "far",
    "-o",
    "a=b",
    "--ipam-opt",
    "c=d",
    "n",
  );
  const [made] = asked("NetworkDriver.CreateNetwork");
  assert.deepEqual(made, {
    NetworkID: id,
    Options: {
      "com.docker.network.generic": { a: "b" },
      "com.docker.network.enable_ipv4": true,
      "com.docker.network.enable_ipv6": false,
    },
    IPv4Data: [
      {
        AddressSpace: "near",
        Pool: `10.244.${number}.0/24`,
        Gateway: `10.244.${number}.1/24`,
        AuxAddresses: {},
      },
    ],
    IPv6Data: [],
  });
  const [shown] = JSON.parse(ok("network", "inspect", "n"));
  assert.deepEqual(
    [shown.Driver, shown.Scope, shown.IPAM, shown.Options],
    [
      "far",
      "local",
      {
        Driver: "far",
        Options: { c: "d" },
        Config: [{ Subnet: `10.244.${number}.0/24`, Gateway: `10.244.${number}.1` }],
      },
      { a: "b" },
    ],
  );
  ok("run", "-d", "--name", "one", "--network", "n", "-p", "8080:80", IMAGE, "sleep", "1000");
  const [endpoint] = asked("NetworkDriver.CreateEndpoint");
  assert.deepEqual(endpoint?.Interface, {
    Address: `10.244.${number}.10/24`,
    AddressIPv6: "",
    MacAddress: "",
  });
  const [outside] = asked("NetworkDriver.ProgramExternalConnectivity");
  const told = outside?.Options as Record<string, unknown> | undefined;
  assert.deepEqual(told?.["com.docker.network.portmap"], [
    { Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8080, HostPortEnd: 8080 },
  ]);
  const [joined] = asked("NetworkDriver.Join");
  assert.match(String(joined?.SandboxKey), new RegExp(`^${daemon.execRoot}/netns/[0-9a-f]{12}$`));
  assert.equal(
    format(
      '{{with index .NetworkSettings.Networks "n"}}{{.IPAddress}} {{.Gateway}} {{.MacAddress}}{{end}}',
      "one",
    ),
    `10.244.${number}.10 10.244.${number}.1 02:99:00:00:00:01`,
  );
  const link = ok("exec", "one", "ip", "address", "show", "far0");
  assert.match(link, /link\/ether 02:99:00:00:00:01/);
  assert.match(link, new RegExp(`inet 10\\.244\\.${number}\\.10/24`));
  const routes = ok("exec", "one", "ip", "route");
  for (const route of [
    `default via 10.244.${number}.1 dev far0`,
    `10.246.${number}.0/24 dev far0`,
    `10.247.${number}.0/24 via 10.244.${number}.1`,
  ])
    assert.ok(routes.includes(route), routes);
  reaches("one", `10.244.${number}.1`);
  ok(
    "run",
    "--rm",
    "--network",
    "n",
    "--mac-address",
    "02:99:00:00:00:22",
    IMAGE,
    "ping",
    "-c5",
    "-W5",
    "one",
  );
  await eventually(() => assert.equal(asked("NetworkDriver.DeleteEndpoint").length, 1));
  await eventually(() => assert.equal(asked("IpamDriver.ReleaseAddress").length, 1));
});

test("a running container joins and leaves: the link goes back to the plugin", async () => {
  plugin.forgetCalls();
  ok("run", "-d", "--name", "two", IMAGE, "sleep", "1000");
  ok("network", "connect", "n", "two");
  reaches("two", "one");
  ok("network", "disconnect", "n", "two");
  assert.doesNotMatch(ok("exec", "two", "ip", "link"), /far0/);
  await eventually(() =>
    assert.deepEqual(
      plugin.methods.slice(-3).sort(),
      ["IpamDriver.ReleaseAddress", "NetworkDriver.DeleteEndpoint", "NetworkDriver.Leave"].sort(),
    ),
  );
  ok("rm", "-f", "two");
});

test("what a plugin refuses is told, and nothing is left of it", async () => {
  plugin.forgetCalls();
  plugin.order({ "NetworkDriver.Join": "no room" });
  assert.match(failure("run", "--rm", "--network", "n", IMAGE, "true"), /NetworkDriver\.Join: no room/);
  await eventually(() => assert.equal(asked("NetworkDriver.DeleteEndpoint").length, 1));
  await eventually(() => assert.equal(asked("IpamDriver.ReleaseAddress").length, 1));
  plugin.order({ "IpamDriver.RequestAddress": "all gone" });
  assert.match(
    failure("run", "--rm", "--network", "n", IMAGE, "true"),
    /IpamDriver\.RequestAddress: all gone/,
  );
  plugin.order({ "NetworkDriver.CreateNetwork": "not here" });
  assert.match(failure("network", "create", "-d", "far", "m"), /NetworkDriver\.CreateNetwork: not here/);
  assert.doesNotMatch(ok("network", "ls", "--format", "{{.Name}}"), /^m$/m);
  plugin.order({});
  assert.match(failure("network", "create", "-d", "nobody", "m"), /plugin "nobody" not found/);
  assert.match(failure("network", "create", "--ipam-driver", "nobody", "m"), /plugin "nobody" not found/);
});

test("a plugin's addresses on a bridge of ours", async () => {
  ok("network", "create", "--ipam-driver", "far", "--subnet", `10.245.${number}.0/24`, "mixed");
  assert.equal(format("{{(index .IPAM.Config 0).Subnet}}", "mixed"), `10.245.${number}.0/24`);
  ok(
    "run",
    "-d",
    "--name",
    "four",
    "--network",
    "mixed",
    "--ip",
    `10.245.${number}.99`,
    IMAGE,
    "sleep",
    "1000",
  );
  reaches("four", `10.245.${number}.1`);
  const [given] = asked("IpamDriver.RequestAddress").slice(-1);
  assert.deepEqual([given?.PoolID, given?.Address], [`near/10.245.${number}.0/24`, `10.245.${number}.99`]);
  ok("rm", "-f", "four");
  ok("network", "rm", "mixed");
  assert.deepEqual(asked("IpamDriver.ReleasePool").slice(-1), [{ PoolID: `near/10.245.${number}.0/24` }]);
});

test("a container's end waits for no plugin; what it left is asked back when the daemon starts", async () => {
  plugin.order({ "NetworkDriver.Leave": "silent" });
  ok("run", "-d", "--name", "three", "--network", "n", IMAGE, "sleep", "1000");
  const left = format("{{.NetworkSettings.Networks.n.EndpointID}}", "three");
  plugin.forgetCalls();
  ok("rm", "-f", "three");
  assert.equal(asked("NetworkDriver.DeleteEndpoint").length, 0);
  await daemon.kill();
  plugin.order({});
  await daemon.boot();
  await eventually(() =>
    assert.ok(
      asked("NetworkDriver.DeleteEndpoint").some(({ EndpointID }) => EndpointID === left),
      `${plugin.methods}`,
    ),
  );
  // A plugin that remembers nothing knows again what it has given, before anything is given back.
  const one = format("{{.NetworkSettings.Networks.n.IPAddress}}", "one");
  await eventually(() =>
    assert.ok(
      asked("IpamDriver.RequestPool").some(({ Pool }) => Pool === `10.244.${number}.0/24`),
      `${plugin.methods}`,
    ),
  );
  await eventually(() =>
    assert.ok(asked("IpamDriver.RequestAddress").some(({ Address }) => Address === one)),
  );
  // Who ran meanwhile still has its link.
  reaches("one", `10.244.${number}.1`);
});

test("a dead plugin is named, and its network can be removed all the same", async () => {
  await plugin.kill();
  ok("rm", "-f", "one");
  ok("network", "rm", "n");
  assert.equal(ok("network", "ls", "-q", "--filter", "name=^n$"), "");
  await plugin.run();
  // It may be gone, or go.
  spawnSync("ip", ["link", "delete", plugin.bridge]);
});
