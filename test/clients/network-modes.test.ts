/** none, host, container: and the bridge, by the real command line; what `docker network` shows. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
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

test("bridge: an address, the gateway, a way to a neighbour, hosts and resolv.conf, IPv4 only", () => {
  ok("run", "-d", "--name", "peer", IMAGE, "sleep", "1000");
  const peer = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "peer");
  const look = `ip route; ping -c 1 -w 2 ${peer} >/dev/null && echo reached; cat /etc/hosts /etc/hostname; ip -6 addr show eth0; test -s /etc/resolv.conf && echo resolver`;
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
