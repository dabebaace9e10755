/** Networks that users make, by the real command line: made, joined, inspected, left, removed. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { freePorts } from "#test/fixtures/free-ports.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 31 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

/** What the daemon says when it refuses. */
function refusal(...args: string[]): string {
  const { code, stderr } = daemon.docker(...args);
  assert.notEqual(code, 0, `docker ${args.join(" ")} should have failed`);
  return stderr
    .replace(/^(docker: )?Error response from daemon: /, "")
    .replace(/\n\nRun 'docker .*$/s, "")
    .replace(/\nexit status 1\n*$/, "")
    .trim();
}

function json(...args: string[]): Record<string, unknown>[] {
  return JSON.parse(ok(...args)) as Record<string, unknown>[];
}

function endpoints(container: string): Record<string, Record<string, unknown>> {
  return JSON.parse(ok("inspect", "-f", "{{json .NetworkSettings.Networks}}", container)) as never;
}

function rules(): string {
  return execFileSync("iptables-save", { encoding: "utf8" });
}

test("a network is made, shown and removed, and nothing of it stays", () => {
  const id = ok("network", "create", "--label", "a=b", "--subnet", "10.231.1.0/24", "one");
  assert.match(id, /^[0-9a-f]{64}$/);
  const bridge = `br-${id.slice(0, 12)}`;
  const [shown] = json("network", "inspect", "one");
  const { Created, ...rest } = shown as { Created: string };
  assert.ok(!Number.isNaN(Date.parse(Created)));
  assert.deepEqual(rest, {
    Name: "one",
    Id: id,
    Scope: "local",
    Driver: "bridge",
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: {
      Driver: "default",
      Options: {},
      Config: [{ Subnet: "10.231.1.0/24", Gateway: "10.231.1.1" }],
    },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: {},
    Options: {},
    Labels: { a: "b" },
  });
  assert.ok(existsSync(`/sys/class/net/${bridge}`));
  assert.ok(rules().includes(bridge));
  assert.match(
    ok("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.Driver}}"),
    /^one bridge$/,
  );
  assert.equal(ok("network", "rm", "one"), "one");
  assert.ok(!existsSync(`/sys/class/net/${bridge}`));
  assert.ok(!rules().includes(bridge));
  assert.equal(refusal("network", "inspect", "one"), "network one not found");
});

test("what cannot be made is refused in Docker's words", () => {
  ok("network", "create", "--subnet", "10.231.2.0/24", "taken");
  const cases: [string[], string][] = [
    [["taken"], "network with name taken already exists"],
    [
      ["--subnet", "10.231.2.128/25", "x"],
      "invalid pool request: Pool overlaps with other one on this address space",
    ],
    [
      ["--subnet", "10.231.3.0/24", "--gateway", "10.231.4.1", "x"],
      "no matching subnet for gateway 10.231.4.1",
    ],
    [
      ["--subnet", "10.231.3.1/24", "x"],
      "invalid network config:\ninvalid subnet 10.231.3.1/24: it should be 10.231.3.0/24",
    ],
    [["host"], "operation is not permitted on predefined host network"],
    [["bridge"], "operation is not permitted on predefined bridge network"],
    [["-d", "host", "x"], 'only one instance of "host" network is allowed'],
    [["-d", "nosuch", "x"], 'plugin "nosuch" not found'],
    [["--ipam-driver", "nosuch", "x"], 'plugin "nosuch" not found'],
    [
      ["-o", "com.docker.network.driver.mtu=many", "x"],
      'failed to parse com.docker.network.driver.mtu value: many (strconv.Atoi: parsing "many": invalid syntax)',
    ],
  ];
  for (const [args, message] of cases) assert.equal(refusal("network", "create", ...args), message);
  assert.equal(refusal("network", "rm", "bridge"), "bridge is a pre-defined network and cannot be removed");
  ok("run", "-d", "--name", "user", "--network", "taken", IMAGE, "sleep", "1000");
  assert.match(
    refusal("network", "rm", "taken"),
    /^error while removing network: network taken id [0-9a-f]{64} has active endpoints/,
  );
  ok("rm", "-f", "user");
  ok("network", "rm", "taken");
});

test("a container on a user's network: addresses, names, files", () => {
  ok(
    "network",
    "create",
    "--subnet",
    "10.231.5.0/24",
    "--ip-range",
    "10.231.5.64/26",
    "--aux-address",
    "router=10.231.5.64",
    "shop",
  );
  ok("run", "-d", "--name", "web", "--network", "shop", "--network-alias", "www", IMAGE, "sleep", "1000");
  const id = ok("inspect", "-f", "{{.Id}}", "web");
  const { shop } = endpoints("web");
  assert.deepEqual(shop?.DNSNames, ["web", "www", id.slice(0, 12)]);
  assert.deepEqual(shop?.Aliases, ["www"]);
  assert.equal(shop?.IPAddress, "10.231.5.65");
  assert.equal(shop?.Gateway, "10.231.5.1");
  assert.match(
    ok("exec", "web", "cat", "/etc/hosts"),
    new RegExp(`^10\\.231\\.5\\.65\t${id.slice(0, 12)}$`, "m"),
  );
  assert.match(ok("exec", "web", "cat", "/etc/resolv.conf"), /^nameserver 127\.0\.0\.11$/m);
  assert.match(ok("exec", "web", "cat", "/etc/resolv.conf"), /^options .*ndots:0$/m);
  const other = ["run", "--rm", "--network", "shop", IMAGE];
  for (const name of ["web", "www", "web.shop", id.slice(0, 12)]) {
    assert.match(ok(...other, "ping", "-c", "1", "-w", "30", name), /10\.231\.5\.65/, name);
  }
  const [network] = json("network", "inspect", "shop");
  const containers = network?.Containers as Record<string, { Name: string; IPv4Address: string }>;
  assert.equal(containers[id]?.Name, "web");
  assert.equal(containers[id]?.IPv4Address, "10.231.5.65/24");
  ok("stop", "-t", "0", "web");
  assert.deepEqual(endpoints("web").shop?.Aliases, ["www"]);
  assert.equal(endpoints("web").shop?.IPAddress, "");
  ok("network", "inspect", "shop");
  ok("start", "web");
  assert.match(ok(...other, "ping", "-c", "1", "-w", "30", "www"), /1 packets received/);
  ok("rm", "-f", "web");
  ok("network", "rm", "shop");
});

test("fixed addresses, and what is refused of them", () => {
  ok("network", "create", "--subnet", "10.231.6.0/24", "fixed");
  ok("network", "create", "free");
  ok(
    "run",
    "-d",
    "--name",
    "aa",
    "--network",
    "fixed",
    "--ip",
    "10.231.6.77",
    "--mac-address",
    "02:42:00:00:00:77",
    IMAGE,
    "sleep",
    "100",
  );
  assert.match(
    ok("exec", "aa", "ip", "addr", "show", "eth0"),
    /02:42:00:00:00:77[\s\S]*inet 10\.231\.6\.77\/24/,
  );
  assert.deepEqual(endpoints("aa").fixed?.IPAMConfig, { IPv4Address: "10.231.6.77" });
  assert.match(
    refusal("run", "--rm", "--network", "fixed", "--ip", "10.231.6.77", IMAGE, "true"),
    /Address already in use/,
  );
  assert.equal(
    refusal("run", "--rm", "--network", "fixed", "--ip", "10.99.0.1", IMAGE, "true"),
    "invalid config for network fixed: invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.99.0.1",
  );
  assert.equal(
    refusal("run", "--rm", "--network", "free", "--ip", "10.99.0.1", IMAGE, "true"),
    "invalid config for network free: invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
  );
  assert.match(refusal("run", "--rm", "--network", "nosuch", IMAGE, "true"), /^network nosuch not found/);
  ok("restart", "-t", "0", "aa");
  assert.equal(endpoints("aa").fixed?.IPAddress, "10.231.6.77");
  ok("rm", "-f", "aa");
  ok("network", "rm", "fixed", "free");
});

test("two networks at once: an interface for each, the way out by priority, ports there", async () => {
  const port = await freePorts();
  ok("network", "create", "--subnet", "10.231.7.0/24", "alpha");
  ok("network", "create", "--subnet", "10.231.8.0/24", "beta");
  ok(
    "run",
    "-d",
    "--name",
    "both",
    "--network",
    "alpha",
    "--network",
    "name=beta,gw-priority=1",
    "-p",
    `${port}:80`,
    IMAGE,
    "sleep",
    "100",
  );
  const shown = ok("exec", "both", "ip", "-o", "-4", "addr");
  assert.match(shown, /eth0\s+inet 10\.231\.7\.2\/24/);
  assert.match(shown, /eth1\s+inet 10\.231\.8\.2\/24/);
  assert.match(ok("exec", "both", "ip", "route"), /^default via 10\.231\.8\.1 dev eth1/m);
  assert.equal(endpoints("both").beta?.GwPriority, 1);
  assert.match(rules(), new RegExp(`--dport ${port} -j DNAT --to-destination 10\\.231\\.8\\.2:80`));
  ok("rm", "-f", "both");
  ok("network", "rm", "alpha", "beta");
  assert.ok(!rules().includes(`--dport ${port} `));
});

test("connect and disconnect, running and stopped", async () => {
  ok("network", "create", "--subnet", "10.231.9.0/24", "first");
  ok("network", "create", "--subnet", "10.231.10.0/24", "second");
  ok("run", "-d", "--name", "mover", "--network", "first", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "peer", "--network", "second", IMAGE, "sleep", "1000");
  assert.match(refusal("exec", "mover", "ping", "-c", "1", "-w", "2", "peer"), /bad address/);
  ok("network", "connect", "--ip", "10.231.10.50", "--alias", "nick", "second", "mover");
  assert.match(ok("exec", "mover", "ip", "-o", "-4", "addr"), /eth1\s+inet 10\.231\.10\.50\/24/);
  assert.match(ok("exec", "mover", "cat", "/etc/hosts"), /^10\.231\.10\.50\t/m);
  assert.match(ok("exec", "mover", "ping", "-c", "1", "-w", "30", "peer"), /1 packets received/);
  assert.match(ok("exec", "peer", "ping", "-c", "1", "-w", "30", "nick"), /10\.231\.10\.50/);
  assert.equal(
    refusal("network", "connect", "second", "mover"),
    "endpoint with name mover already exists in network second",
  );
  ok("network", "disconnect", "first", "mover");
  assert.match(ok("exec", "mover", "ip", "route"), /^default via 10\.231\.10\.1 dev eth1/m);
  assert.doesNotMatch(ok("exec", "mover", "ip", "-o", "link"), /eth0/);
  assert.doesNotMatch(ok("exec", "mover", "cat", "/etc/hosts"), /10\.231\.9\./);
  assert.match(refusal("network", "disconnect", "first", "mover"), /is not connected to network first/);
  assert.deepEqual(Object.keys(endpoints("mover")), ["second"]);
  ok("stop", "-t", "0", "mover");
  ok("network", "disconnect", "second", "mover");
  ok("network", "connect", "--alias", "back", "first", "mover");
  ok("start", "mover");
  assert.deepEqual(Object.keys(endpoints("mover")), ["first"]);
  assert.match(ok("exec", "mover", "ip", "-o", "-4", "addr"), /eth0\s+inet 10\.231\.9\./);
  ok("network", "disconnect", "first", "mover");
  assert.doesNotMatch(ok("exec", "mover", "ip", "-o", "link"), /eth/);
  ok("restart", "-t", "0", "mover");
  assert.doesNotMatch(
    ok("exec", "mover", "ip", "-o", "link"),
    /eth/,
    "off all networks, also after a restart",
  );
  ok("rm", "-f", "mover", "peer");
  ok("network", "prune", "-f");
  assert.equal(ok("network", "ls", "-q", "--filter", "type=custom"), "");
});

test("a container that gets its first user's network while it runs resolves names there", () => {
  ok("network", "create", "late");
  ok("run", "-d", "--name", "early", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "target", "--network", "late", IMAGE, "sleep", "1000");
  ok("network", "connect", "late", "early");
  assert.match(ok("exec", "early", "ping", "-c", "1", "-w", "30", "target"), /1 packets received/);
  ok("rm", "-f", "early", "target");
  ok("network", "rm", "late");
});

test("networks keep to themselves; internal ones to themselves alone", () => {
  ok("network", "create", "--subnet", "10.231.11.0/24", "left");
  ok("network", "create", "--subnet", "10.231.12.0/24", "--internal", "inner");
  ok("run", "-d", "--name", "left-one", "--network", "left", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "inner-one", "--network", "inner", IMAGE, "sleep", "1000");
  const unreachable = (from: string, address: string) => {
    const { code } = daemon.docker("exec", from, "ping", "-c", "1", "-w", "1", address);
    assert.notEqual(code, 0, `${address} from ${from}`);
  };
  unreachable("left-one", "10.231.12.2");
  unreachable("inner-one", "10.231.11.2");
  assert.equal(ok("exec", "inner-one", "ip", "route"), "10.231.12.0/24 dev eth0 scope link  src 10.231.12.2");
  assert.equal(endpoints("inner-one").inner?.Gateway, "");
  assert.match(
    ok("run", "--rm", "--network", "inner", IMAGE, "ping", "-c", "1", "-w", "30", "inner-one"),
    /1 packets received/,
  );
  ok("rm", "-f", "left-one", "inner-one");
  ok("network", "rm", "left", "inner");
});

test("a restart of the daemon finds networks and what is on them", async () => {
  const port = await freePorts();
  const id = ok("network", "create", "--subnet", "10.231.13.0/24", "kept");
  ok("run", "-d", "--name", "stays", "--network", "kept", "-p", `${port}:80`, IMAGE, "sleep", "1000");
  await daemon.kill("SIGKILL");
  await daemon.boot();
  assert.equal(ok("network", "inspect", "-f", "{{.Id}}", "kept"), id);
  assert.equal(endpoints("stays").kept?.IPAddress, "10.231.13.2");
  assert.match(
    ok("run", "--rm", "--network", "kept", IMAGE, "ping", "-c", "1", "-w", "30", "stays"),
    /1 packets received/,
  );
  assert.match(rules(), new RegExp(`--dport ${port} -j DNAT --to-destination 10\\.231\\.13\\.2:80`));
  ok("network", "connect", "bridge", "stays");
  ok("network", "disconnect", "bridge", "stays");
  ok("rm", "-f", "stays");
  ok("network", "rm", "kept");
});

test("events tell of networks and who joins them", () => {
  const since = String(Date.now() / 1000);
  const id = ok("network", "create", "heard");
  const container = ok("run", "-d", "--network", "heard", IMAGE, "sleep", "1000");
  ok("rm", "-f", container);
  ok("network", "rm", "heard");
  const lines = ok(
    "events",
    "--since",
    since,
    "--until",
    String(Date.now() / 1000),
    "--filter",
    "type=network",
    "--format",
    "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}",
  );
  assert.deepEqual(
    lines.split("\n"),
    ["create", "connect", "disconnect", "destroy"].map((action) => `${action} ${id} heard bridge`),
  );
});

test("links on the default bridge: hosts entries, variables, and who cannot be linked", () => {
  ok("run", "-d", "--name", "db", "--expose", "5432", "-e", "SECRET=x=y", IMAGE, "sleep", "1000");
  const address = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db");
  const short = ok("inspect", "-f", "{{.Config.Hostname}}", "db");
  ok("run", "-d", "--name", "app", "--link", "db:data-base", IMAGE, "sleep", "1000");
  assert.match(
    ok("exec", "app", "cat", "/etc/hosts"),
    new RegExp(`^${address.replaceAll(".", "\\.")}\tdata-base ${short} db$`, "m"),
  );
  assert.match(ok("exec", "app", "ping", "-c", "1", "-w", "30", "data-base"), /1 packets received/);
  const shown = ok("run", "--rm", "--name", "look", "--link", "db:data-base", IMAGE, "env");
  assert.deepEqual(
    shown.split("\n").filter((line) => line.startsWith("DATA_BASE_")),
    [
      `DATA_BASE_PORT=tcp://${address}:5432`,
      `DATA_BASE_PORT_5432_TCP=tcp://${address}:5432`,
      `DATA_BASE_PORT_5432_TCP_ADDR=${address}`,
      "DATA_BASE_PORT_5432_TCP_PORT=5432",
      "DATA_BASE_PORT_5432_TCP_PROTO=tcp",
      "DATA_BASE_NAME=/look/data-base",
      "DATA_BASE_ENV_SECRET=x=y",
    ],
  );
  assert.equal(ok("inspect", "-f", "{{json .HostConfig.Links}}", "app"), '["/db:/app/data-base"]');
  // Another takes its address; the one that links follows.
  ok("stop", "-t", "0", "db");
  assert.match(
    refusal("restart", "-t", "0", "app"),
    /Cannot link to a non running container: \/db AS \/app\/data-base/,
  );
  ok("start", "db");
  ok("start", "app");
  ok("stop", "-t", "0", "db");
  ok("run", "-d", "--name", "other", IMAGE, "sleep", "1000");
  ok("start", "db");
  const moved = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db");
  assert.match(
    ok("exec", "app", "cat", "/etc/hosts"),
    new RegExp(`^${moved.replaceAll(".", "\\.")}\tdata-base `, "m"),
  );
  ok("rm", "-f", "db", "app", "other");
});

test("links on a user's network are names that one container alone has", () => {
  ok("network", "create", "linked");
  ok("run", "-d", "--name", "db", "--network", "linked", IMAGE, "sleep", "1000");
  const ping = ["ping", "-c", "1", "-w", "30", "store"];
  const own = ok("run", "--rm", "--network", "linked", "--link", "db:store", IMAGE, ...ping);
  assert.match(own, /1 packets received/);
  assert.match(refusal("run", "--rm", "--network", "linked", IMAGE, ...ping), /bad address/);
  ok("rm", "-f", "db");
  ok("network", "rm", "linked");
});

test("containers that have one network and no more, and those that are not there", () => {
  ok("network", "create", "more");
  for (const mode of ["host", "none"]) {
    ok("run", "-d", "--name", `on-${mode}`, "--network", mode, IMAGE, "sleep", "1000");
  }
  ok("run", "-d", "--name", "plain", IMAGE, "sleep", "1000");
  ok("run", "-d", "--name", "guest", "--network", "container:plain", IMAGE, "sleep", "1000");
  const host = "container cannot be disconnected from host network or connected to host network";
  const cases: [string[], string][] = [
    [["connect", "more", "on-host"], host],
    [["connect", "host", "plain"], host],
    [["disconnect", "host", "on-host"], host],
    [
      ["connect", "more", "guest"],
      "container sharing network namespace with another container or host cannot be connected to any other network",
    ],
    [
      ["connect", "more", "on-none"],
      "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    ],
    [["connect", "more", "nobody"], "No such container: nobody"],
    [["disconnect", "more", "nobody"], "No such container: nobody"],
    [["disconnect", "-f", "more", "nobody"], "endpoint nobody not found"],
    [["connect", "nosuch", "plain"], "network nosuch not found"],
    [
      ["connect", "--ip", "10.1.1.1", "more", "plain"],
      "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
    ],
  ];
  for (const [args, message] of cases) assert.equal(refusal("network", ...args), message, args.join(" "));
  assert.deepEqual(Object.keys(endpoints("plain")), ["bridge"]);
  ok("rm", "-f", "on-host", "on-none", "guest", "plain");
  ok("network", "rm", "more");
});

test("a connect asked while the container starts comes after it", async () => {
  ok("network", "create", "meanwhile");
  const id = ok("create", "--name", "starting", IMAGE, "sleep", "1000");
  const body = { Container: id };
  const answers = await Promise.all([
    daemon.api("POST", `/containers/${id}/start`),
    daemon.api("POST", "/networks/meanwhile/connect", body),
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [204, 200],
  );
  assert.deepEqual(Object.keys(endpoints("starting")).sort(), ["bridge", "meanwhile"]);
  ok("rm", "-f", "starting");
  ok("network", "rm", "meanwhile");
});
