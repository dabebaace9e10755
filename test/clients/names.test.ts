/** Names on users' networks, by the real command line: who resolves whom, when, and where the rest is asked. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestNamespace } from "#networks/dns/testing/namespace.ts";
import { startUpstream } from "#networks/dns/testing/upstream.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const SHOP = `shop${process.pid}`;
const BACK = `back${process.pid}`;

let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 78 });
  daemon.loadBusybox();
  ok("network", "create", SHOP);
  ok("network", "create", BACK);
});
after(async () => {
  const ids = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
  if (ids.length > 0) daemon.docker("rm", "-f", ...ids);
  daemon.docker("network", "rm", SHOP, BACK);
  await daemon.stop();
});

const ok = (...args: string[]) => daemon.ok(...args);

/** A container that waits, on these networks; removed at the end of the block. */
function waiting(name: string, ...args: string[]): Disposable & { id: string } {
  const id = ok("run", "-d", "--name", name, ...args, IMAGE, "sleep", "1000");
  return { id, [Symbol.dispose]: () => void daemon.docker("rm", "-f", name) };
}

function addressOf(name: string, network: string): string {
  return ok("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);
}

/** The IPv4 addresses a container gets for a name, sorted. */
function lookup(inside: string, name: string, ...server: string[]): string[] {
  const { stdout } = daemon.docker("exec", inside, "nslookup", "-type=a", name, ...server);
  const answer = stdout.slice(stdout.indexOf("answer:"));
  return [...answer.matchAll(/^Address: ([\d.]+)$/gm)].map((match) => match[1] ?? "").sort();
}

test("two containers find each other by name, alias and short id, also with the network's name", () => {
  using web = waiting("web", "--network", SHOP, "--network-alias", "www");
  using _ = waiting("db", "--network", SHOP);
  const address = addressOf("web", SHOP);
  for (const name of ["web", "WEB", "www", web.id.slice(0, 12), `web.${SHOP}`, `www.${SHOP}`]) {
    assert.deepEqual(lookup("db", name), [address], name);
  }
  assert.deepEqual(lookup("web", "db"), [addressOf("db", SHOP)]);
  assert.deepEqual(lookup("web", "web"), [address], "itself");
  const reverse = ok(
    "exec",
    "db",
    "nslookup",
    "-type=ptr",
    `${address.split(".").reverse().join(".")}.in-addr.arpa`,
  );
  assert.match(reverse, new RegExp(`name = web\\.${SHOP}`));
  assert.match(ok("exec", "db", "ping", "-c", "1", "-w", "5", "www"), /1 packets received/);
  assert.match(
    ok("exec", "db", "cat", "/etc/resolv.conf"),
    /^nameserver 127\.0\.0\.11\n(search .*\n)?options .*ndots:0$/,
  );
});

test("no rights are needed inside, and port 53 is free", () => {
  using _ = waiting("web", "--network", SHOP);
  const unprivileged = [
    "--cap-drop",
    "ALL",
    "--user",
    "1000",
    "--read-only",
    "--security-opt",
    "no-new-privileges",
  ];
  const shown = ok("run", "--rm", "--network", SHOP, ...unprivileged, IMAGE, "nslookup", "-type=a", "web");
  assert.match(shown, new RegExp(`Address: ${addressOf("web", SHOP)}`));
  const own =
    "nc -l -p 53 >/tmp/heard & while ! [ -s /tmp/heard ]; do echo hello | nc -w 1 127.0.0.1 53; done; cat /tmp/heard; nslookup -type=a web";
  assert.match(ok("run", "--rm", "--network", SHOP, IMAGE, "sh", "-c", own), /hello[\s\S]*Name:\s+web/);
});

test("names of another network don't resolve", () => {
  using _web = waiting("web", "--network", SHOP, "--dns", "127.0.0.1");
  using _store = waiting("store", "--network", BACK);
  using _default = waiting("plain");
  for (const name of ["store", `store.${BACK}`, "plain"]) assert.deepEqual(lookup("web", name), [], name);
});

test("an alias of several containers has the addresses of all that run", () => {
  using _one = waiting("one", "--network", SHOP, "--network-alias", "pool");
  using _two = waiting("two", "--network", SHOP, "--network-alias", "pool");
  using _asker = waiting("asker", "--network", SHOP);
  const both = [addressOf("one", SHOP), addressOf("two", SHOP)].sort();
  assert.deepEqual(lookup("asker", "pool"), both);
  const firsts = new Set<string>();
  for (let round = 0; round < 4; round++) {
    const shown = ok("exec", "asker", "nslookup", "pool");
    firsts.add(/^Name:\s+pool\nAddress: ([\d.]+)/m.exec(shown)?.[1] ?? shown);
  }
  assert.deepEqual([...firsts].sort(), both, "both get their share");
  ok("stop", "-t", "0", "one");
  assert.deepEqual(lookup("asker", "pool"), [addressOf("two", SHOP)]);
  assert.deepEqual(lookup("asker", "one"), []);
  ok("start", "one");
  assert.deepEqual(lookup("asker", "pool").length, 2);
});

test("names come and go with connect, disconnect and rename, at once", () => {
  using _web = waiting("web", "--network", SHOP);
  using _store = waiting("store", "--network", BACK);
  assert.deepEqual(lookup("web", "store"), []);
  ok("network", "connect", "--alias", "cellar", SHOP, "store");
  const address = addressOf("store", SHOP);
  assert.deepEqual(lookup("web", "store"), [address]);
  assert.deepEqual(lookup("web", "cellar"), [address]);
  assert.deepEqual(lookup("store", "web"), [addressOf("web", SHOP)]);
  ok("rename", "store", "shed");
  assert.deepEqual(lookup("web", "shed"), [address]);
  assert.deepEqual(lookup("web", "store"), []);
  ok("network", "disconnect", SHOP, "shed");
  assert.deepEqual(lookup("web", "shed"), []);
  ok("rename", "shed", "store");
});

test("a container of the default bridge finds names from its first network of a user's on", async () => {
  using _web = waiting("web", "--network", SHOP);
  using _late = waiting("late");
  assert.doesNotMatch(ok("exec", "late", "cat", "/etc/resolv.conf"), /127\.0\.0\.11/);
  ok("network", "connect", SHOP, "late");
  assert.match(ok("exec", "late", "cat", "/etc/resolv.conf"), /^nameserver 127\.0\.0\.11\n/);
  await eventually(() => assert.deepEqual(lookup("late", "web"), [addressOf("web", SHOP)]));
  assert.deepEqual(lookup("web", "late"), [addressOf("late", SHOP)]);
  await daemon.kill();
  await daemon.boot();
  await eventually(() => assert.deepEqual(lookup("late", "web"), [addressOf("web", SHOP)]));
});

test("a connect that was cut short before the container's file was written: the next daemon, or connect, writes it", async () => {
  using _web = waiting("web", "--network", SHOP);
  using late = waiting("late");
  const file = join(daemon.dataRoot, "containers", late.id, "resolv.conf");
  const before = readFileSync(file, "utf8");
  const seen = () => ok("exec", "late", "cat", "/etc/resolv.conf");
  ok("network", "connect", SHOP, "late");
  writeFileSync(file, before);
  assert.equal(`${seen()}\n`, before);
  await daemon.kill();
  await daemon.boot();
  assert.match(seen(), /^nameserver 127\.0\.0\.11\n/);
  assert.deepEqual(lookup("late", "web"), [addressOf("web", SHOP)]);
  writeFileSync(file, before);
  ok("network", "connect", BACK, "late");
  assert.match(seen(), /^nameserver 127\.0\.0\.11\n/);
  // What somebody has written there stays.
  writeFileSync(file, "nameserver 192.0.2.1\n");
  await daemon.kill();
  await daemon.boot();
  assert.equal(seen(), "nameserver 192.0.2.1");
});

test("a link is a name for one container alone", () => {
  using _db = waiting("db", "--network", SHOP);
  using _web = waiting("web", "--network", SHOP, "--link", "db:storage");
  assert.deepEqual(lookup("web", "storage"), [addressOf("db", SHOP)]);
  assert.deepEqual(lookup("db", "storage"), []);
});

test("what isn't about containers goes to the servers of --dns, from the container", async () => {
  // The upstream runs in a container's own namespace, so its address is one of the network's.
  using server = waiting("server", "--network", SHOP);
  assert.ok(server.id);
  const address = addressOf("server", SHOP);
  const tool = new URL("../../packages/networks/dns/testing/upstream.ts", import.meta.url).pathname;
  using inside = new TestNamespace(Number(ok("inspect", "-f", "{{.State.Pid}}", "server")));
  const asked: string[] = [];
  await inside.start([process.execPath, tool, `${address}=192.0.2.7`], (line) => asked.push(line));
  using _ = waiting(
    "web",
    "--network",
    SHOP,
    "--dns",
    address,
    "--dns-search",
    "example.org",
    "--dns-option",
    "timeout:3",
  );
  const file = ok("exec", "web", "cat", "/etc/resolv.conf");
  assert.equal(file, "nameserver 127.0.0.11\nsearch example.org\noptions timeout:3 ndots:0");
  assert.deepEqual(lookup("web", "www.example.net"), ["192.0.2.7"]);
  assert.ok(
    ok("exec", "web", "ping", "-c", "1", "-w", "5", "server").includes(`(${address})`),
    "names of containers first",
  );
  await eventually(() => assert.ok(asked.includes(`${address} www.example.net`), asked.join()));
});

test("an internal network keeps its questions", async () => {
  const name = `inner${process.pid}`;
  ok("network", "create", "--internal", name);
  try {
    const asked: string[] = [];
    const on = `127.54.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
    await using _upstream = await startUpstream(on, "192.0.2.9", (question) => asked.push(question));
    using _web = waiting("web", "--network", name);
    using _db = waiting("db", "--network", name);
    assert.deepEqual(lookup("web", "db"), [addressOf("db", name)]);
    assert.match(daemon.docker("exec", "web", "nslookup", "example.org").stdout, /NXDOMAIN/);
    assert.deepEqual(asked, []);
  } finally {
    ok("network", "rm", name);
  }
});

test("the daemon may be killed: names resolve again with the next one, and questions wait for it", async () => {
  using _web = waiting("web", "--network", SHOP);
  using _asker = waiting("asker", "--network", SHOP);
  const address = addressOf("web", SHOP);
  const pid = Number(ok("inspect", "-f", "{{.State.Pid}}", "asker"));
  using inside = new TestNamespace(pid);
  assert.deepEqual(await inside.dig("web"), [address]);
  await daemon.kill();
  const questions = Array.from({ length: 8 }, (_, index) =>
    inside.dig("web", "+time=30", index % 2 === 0 ? "+notcp" : "+tcp"),
  );
  await daemon.boot();
  for (const answer of await Promise.all(questions)) assert.deepEqual(answer, [address]);
});
