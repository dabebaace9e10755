/** none, host, container: and the bridge, by the real command line; what `docker network` shows. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 8 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);
/** A server that tells its host name, and a client that waits until it is there. */
const serving = ["sh", "-c", "mkdir /www; hostname >/www/index.html; exec httpd -f -p 9000 -h /www"];
const asking = (host: string) =>
  `for n in $(seq 100); do wget -q -O - http://${host}:9000 2>/dev/null && exit; sleep 0.1; done; exit 1`;
const links = (text: string) => [...text.matchAll(/^\d+: ([^:@]+)/gm)].map((match) => match[1]);

test("none has the loopback only, and it is up", () => {
  const shown = ok("run", "--rm", "--network", "none", IMAGE, "ip", "-o", "link");
  assert.deepEqual(links(shown), ["lo"]);
  assert.match(shown, /LOOPBACK,UP/);
});

test("host has the host's links and name", async () => {
  // Those of others may come and go in between.
  await eventually(() => {
    const shown = ok("run", "--rm", "--network", "host", IMAGE, "ip", "-o", "link");
    assert.deepEqual(
      links(shown).sort(),
      readdirSync("/sys/class/net")
        .filter((name) => name !== "bonding_masters")
        .sort(),
    );
  });
});

test("container: shares address and links with another", () => {
  ok("run", "-d", "--name", "one", IMAGE, "sleep", "1000");
  const address = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "one");
  assert.match(
    ok("run", "--rm", "--network", "container:one", IMAGE, "ip", "-4", "addr"),
    new RegExp(`inet ${address}/24`),
  );
  ok("rm", "-f", "one");
  const gone = daemon.docker("run", "--rm", "--network", "container:one", IMAGE, "true");
  assert.equal(gone.code, 125);
  assert.match(gone.stderr, /No such container: one/);
});

test("host has the host's name, and what listens there listens on the host; ports are not published", async () => {
  const listener = createServer((_, answer) => answer.end("the host\n"));
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  try {
    const { port } = listener.address() as AddressInfo;
    const look = `hostname; wget -q -O - http://127.0.0.1:${port}`;
    // Not the synchronous command line: this very process answers.
    const shown = await daemon.dockerAsync(
      ...["run", "--rm", "--network", "host", "-p", "81:81", IMAGE, "sh", "-c", look],
    );
    assert.equal(shown.stdout, `${hostname()}\nthe host\n`);
  } finally {
    listener.close();
  }
});

test("container: shares the loopback, the name and the files that tell of the network", () => {
  ok("run", "-d", "--name", "owner", "--hostname", "box", IMAGE, ...serving);
  const joined = (line: string) => ok("run", "--rm", "--network", "container:owner", IMAGE, "sh", "-c", line);
  assert.equal(joined(asking("127.0.0.1")), "box");
  assert.equal(
    joined("hostname; cat /etc/hosts"),
    ok("exec", "owner", "sh", "-c", "hostname; cat /etc/hosts"),
  );
  assert.equal(joined("readlink /proc/self/ns/net"), ok("exec", "owner", "readlink", "/proc/self/ns/net"));
  ok("run", "-d", "--name", "guest", "--network", "container:owner", IMAGE, "sleep", "1000");
  const shown = (name: string) =>
    ok("inspect", "-f", "{{.Config.Hostname}} {{.HostsPath}} {{.HostnamePath}} {{.ResolvConfPath}}", name);
  assert.equal(shown("guest"), shown("owner"));
  ok("rm", "-f", "guest", "owner");
});

test("a user's network: peers by address, by name, by alias; the default bridge knows no names", () => {
  ok("network", "create", "town");
  const server = ["-d", "--name", "shop", "--hostname", "box"];
  ok("run", ...server, "--network", "town", "--network-alias", "store", IMAGE, ...serving);
  const ask = (network: string, name: string) =>
    daemon.docker("run", "--rm", "--network", network, IMAGE, "sh", "-c", asking(name));
  const address = ok("inspect", "-f", "{{.NetworkSettings.Networks.town.IPAddress}}", "shop");
  const id = ok("inspect", "-f", "{{.Id}}", "shop").slice(0, 12);
  for (const name of [address, "shop", "store", id]) assert.equal(ask("town", name).stdout, "box\n", name);
  ok("run", "-d", "--name", "plain", IMAGE, ...serving);
  const known = (network: string, name: string) =>
    daemon.docker("run", "--rm", "--network", network, IMAGE, "nslookup", name).code === 0;
  assert.equal(known("bridge", "plain"), false);
  assert.equal(known("bridge", "shop"), false);
  assert.equal(known("town", "plain"), false);
  ok("rm", "-f", "shop", "plain");
  ok("network", "rm", "town");
});

test("bridge: an address, the gateway, a way to a neighbour, hosts and resolv.conf, IPv4 only", () => {
  ok("run", "-d", "--name", "peer", IMAGE, "sleep", "1000");
  const peer = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "peer");
  const look = `ip route; ping -c 1 -w 30 ${peer} >/dev/null && echo reached; cat /etc/hosts /etc/hostname; ip -6 addr show eth0; test -s /etc/resolv.conf && echo resolver`;
  const shown = ok(
    "run",
    "--rm",
    "--hostname",
    "box",
    "--add-host",
    "other:1.2.3.4",
    IMAGE,
    "sh",
    "-c",
    look,
  );
  assert.ok(shown.includes(`default via ${daemon.gateway} dev eth0`), shown);
  assert.match(shown, /reached/);
  assert.match(shown, /10\.213\.\d+\.\d+\s+box/);
  assert.match(shown, /1\.2\.3\.4\s+other/);
  assert.match(shown, /resolver/);
  assert.doesNotMatch(shown, /inet6/);
  ok("rm", "-f", "peer");
});

test("addresses are not given twice, and come back", () => {
  const ids = Array.from({ length: 5 }, () => ok("run", "-d", IMAGE, "sleep", "1000"));
  const addresses = ids.map((id) => ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", id));
  assert.equal(new Set(addresses).size, 5);
  const shown = JSON.parse(ok("network", "inspect", "bridge"))[0];
  assert.equal(Object.keys(shown.Containers).length, 5);
  assert.deepEqual(shown.IPAM.Config[0].Subnet, daemon.gateway.replace(/1$/, "0/24"));
  ok("rm", "-f", ...ids);
  assert.deepEqual(Object.keys(JSON.parse(ok("network", "inspect", "bridge"))[0].Containers), []);
});

test("docker network ls shows the three", () => {
  assert.deepEqual(ok("network", "ls", "--format", "{{.Name}} {{.Driver}}").split("\n").sort(), [
    "bridge bridge",
    "host host",
    "none null",
  ]);
  assert.match(daemon.docker("network", "inspect", "nothing").stderr, /network nothing not found/);
});
