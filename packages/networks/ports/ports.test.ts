import assert from "node:assert/strict";
import { test } from "node:test";
import { SyscallError } from "#kernel/syscall-error.ts";
import { PortAllocator, readEphemeralRange } from "#networks/ports/port-allocator.ts";
import { parsePort, portMap, type WantedPort, wantedPorts } from "#networks/ports/port-spec.ts";

const holder = (name: string) => ({
  containerId: name,
  name,
  endpointId: "e".repeat(64),
  containerIp: "172.17.0.2",
});
const wanted = (hostIp: string, first?: number, last = first): WantedPort => ({
  protocol: "tcp",
  containerPort: 80,
  hostIp,
  hostPorts: first === undefined || last === undefined ? undefined : { first, last },
});
const free = () => undefined;

test("container ports", () => {
  assert.deepEqual(parsePort("80"), { port: 80, protocol: "tcp" });
  assert.deepEqual(parsePort("53/UDP"), { port: 53, protocol: "udp" });
  for (const text of ["", "0", "65536", "80/icmp", "80-81", "x"])
    assert.equal(parsePort(text), undefined, text);
});

test("bindings, ranges and random ports, in an order that does not depend on the request's", () => {
  const request = {
    portBindings: {
      "443/tcp": [{ HostIp: "", HostPort: "8443" }],
      "80/tcp": [
        { HostIp: "127.0.0.1", HostPort: "8000-8010" },
        { HostIp: "", HostPort: "" },
      ],
      "53/udp": [],
    },
    exposedPorts: ["80/tcp", "22/tcp"],
    publishAllPorts: true,
  };
  const summary = wantedPorts(request, "0.0.0.0").map(
    ({ protocol, containerPort, hostIp, hostPorts }) =>
      `${hostIp} ${hostPorts ? `${hostPorts.first}-${hostPorts.last}` : "any"} ${containerPort}/${protocol}`,
  );
  assert.deepEqual(summary, [
    "0.0.0.0 any 22/tcp",
    "127.0.0.1 8000-8010 80/tcp",
    "0.0.0.0 any 80/tcp",
    "0.0.0.0 8443-8443 443/tcp",
    "0.0.0.0 any 53/udp",
  ]);
});

test("what cannot be published is said", () => {
  const one = (key: string, HostPort = "", HostIp = "") => ({
    portBindings: { [key]: [{ HostIp, HostPort }] },
    exposedPorts: [],
    publishAllPorts: false,
  });
  for (const bad of [
    one("99999/tcp"),
    one("80/tcp", "90-80"),
    one("80/tcp", "x"),
    one("80/tcp", "1", "300.1.1.1"),
  ]) {
    assert.throws(() => wantedPorts(bad, "0.0.0.0"), { code: "invalid" });
  }
  assert.throws(() => wantedPorts(one("80/tcp", "1", "::1"), "0.0.0.0"), /IPv6/);
});

test("the port map of inspect", () => {
  assert.deepEqual(
    portMap(["80/tcp", "81"], [{ protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 32768 }]),
    { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "32768" }], "81/tcp": null },
  );
});

test("one port of one address has one holder; 0.0.0.0 is every address", () => {
  const ports = new PortAllocator({ first: 50_000, last: 50_001 }, free);
  ports.take(holder("a"), [wanted("127.0.0.1", 80)]);
  ports.take(holder("b"), [wanted("127.0.0.2", 80)]);
  for (const address of ["127.0.0.1", "0.0.0.0"]) {
    assert.throws(() => ports.take(holder("c"), [wanted(address, 80)]), /port is already allocated$/);
  }
  ports.release("a");
  ports.take(holder("c"), [wanted("127.0.0.1", 80)]);
});

test("all or nothing: a refusal gives back what was taken before it", () => {
  const ports = new PortAllocator({ first: 50_000, last: 50_001 }, free);
  ports.take(holder("a"), [wanted("0.0.0.0", 80)]);
  assert.throws(() => ports.take(holder("b"), [wanted("0.0.0.0", 81), wanted("0.0.0.0", 80)]));
  ports.take(holder("c"), [wanted("0.0.0.0", 81)]);
});

test("random ports go round, past those other processes have, until none is left", () => {
  const taken = new Set([50_001]);
  const ports = new PortAllocator({ first: 50_000, last: 50_003 }, (_protocol, _ip, port) => {
    if (taken.has(port)) throw new SyscallError("bind", 98);
    return undefined;
  });
  const take = (name: string) => ports.take(holder(name), [wanted("0.0.0.0")])[0]?.hostPort;
  assert.equal(take("a"), 50_000);
  assert.equal(take("b"), 50_002);
  ports.release("a");
  assert.equal(take("c"), 50_003, "not the one just given back");
  assert.equal(take("d"), 50_000);
  assert.throws(() => take("e"), /all ports are allocated$/);
});

test("the kernel's range, and what is used without it", () => {
  assert.deepEqual(readEphemeralRange("/nonexistent"), { first: 49_153, last: 65_535 });
});
