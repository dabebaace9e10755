import assert from "node:assert/strict";
import { test } from "node:test";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  type Binding,
  type PublishingSide,
  planBindings,
  proxyTarget,
  ruleOf,
} from "#networks/ports/bindings.ts";
import { type AllocatorParts, PortAllocator } from "#networks/ports/port-allocator.ts";
import { readEphemeralRange } from "#networks/ports/port-limits.ts";
import { parseSockets } from "#networks/ports/port-owner.ts";
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

const binding = (hostIps: string[], first?: number, last = first): Binding => ({
  ...wanted("", first, last),
  hostIps,
  routedIps: [],
});

const side = (parts: Partial<PublishingSide> = {}): PublishingSide => ({
  containerIp: "172.17.0.2",
  containerIp6: "",
  modes: { 4: "nat", 6: "nat" },
  defaultIp: "0.0.0.0",
  proxy: true,
  translates: () => true,
  hostHasIpv6: () => true,
  ...parts,
});
const dual = { containerIp6: "fd00::2" };

const allocator = (parts: AllocatorParts = {}) =>
  new PortAllocator({ range: { first: 50_000, last: 50_001 }, reserve: () => undefined, ...parts });
const noTarget = () => undefined;

test("container ports", () => {
  assert.deepEqual(parsePort("80"), { port: 80, protocol: "tcp" });
  assert.deepEqual(parsePort("53/UDP"), { port: 53, protocol: "udp" });
  for (const text of ["", "0", "65536", "80/icmp", "80-81", "x"])
    assert.equal(parsePort(text), undefined, text);
});

test("bindings, ranges and random ports: exact ones first, then in an order that does not depend on the request's", () => {
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
  const summary = wantedPorts(request).map(
    ({ protocol, containerPort, hostIp, hostPorts }) =>
      `${hostIp} ${hostPorts ? `${hostPorts.first}-${hostPorts.last}` : "any"} ${containerPort}/${protocol}`,
  );
  assert.deepEqual(summary, [
    " 8443-8443 443/tcp",
    "127.0.0.1 8000-8010 80/tcp",
    " any 22/tcp",
    " any 80/tcp",
    " any 53/udp",
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
    one("80/tcp", "1", "::g"),
  ]) {
    assert.throws(() => wantedPorts(bad), { code: "invalid" });
  }
  assert.equal(wantedPorts(one("80/tcp", "1", "0:0::1"))[0]?.hostIp, "::1");
});

test("where a port appears: by the address asked for, the network's default, and the families there are", () => {
  const at = (
    hostIp: string,
    parts: Partial<PublishingSide> = {},
    protocol: WantedPort["protocol"] = "tcp",
  ) =>
    planBindings([{ ...wanted(hostIp, 8080), protocol }], side(parts)).flatMap(({ hostIps, routedIps }) => [
      ...hostIps,
      ...routedIps.map((address) => `routed ${address}`),
    ]);
  assert.deepEqual(at(""), ["0.0.0.0", "::"]);
  assert.deepEqual(at("", { hostHasIpv6: () => false }), ["0.0.0.0"]);
  assert.deepEqual(at("", { proxy: false }), ["0.0.0.0"]);
  assert.deepEqual(at("", { proxy: false, ...dual }), ["0.0.0.0", "::"]);
  assert.deepEqual(at("0.0.0.0"), ["0.0.0.0"]);
  assert.deepEqual(at("::"), ["::"]);
  assert.deepEqual(at("::1"), ["::1"]);
  assert.deepEqual(at("::1", { proxy: false }), []);
  assert.deepEqual(at("::1", { proxy: false, ...dual }), ["::1"]);
  assert.deepEqual(at("", { defaultIp: "127.0.0.1" }), ["127.0.0.1"]);
  assert.deepEqual(at("", { defaultIp: "::1" }), ["::1"]);
  assert.deepEqual(at("127.0.0.1", { containerIp: "", ...dual }), []);
  assert.deepEqual(at("", { containerIp: "", ...dual }), ["::"]);
  assert.deepEqual(at("", {}, "sctp"), ["0.0.0.0"]);
  assert.deepEqual(at("", dual, "sctp"), ["0.0.0.0", "::"]);
  const routed: Partial<PublishingSide> = { ...dual, modes: { 4: "routed", 6: "routed" } };
  assert.deepEqual(at("", routed), ["routed 0.0.0.0", "routed ::"]);
  assert.deepEqual(at("127.0.0.1", routed), ["routed 0.0.0.0"]);
  assert.deepEqual(at("", { ...dual, modes: { 4: "nat", 6: "routed" } }), ["0.0.0.0", "routed ::"]);
});

test("how it gets to the container: translated within a family, relayed for the rest", () => {
  const way = (
    hostIp: string,
    parts: Partial<PublishingSide> = {},
    protocol: WantedPort["protocol"] = "tcp",
  ) => {
    const port = { protocol, containerPort: 80, hostIp, hostPort: 8080 };
    return [ruleOf(port, side(parts))?.containerIp, proxyTarget(port, side(parts))];
  };
  assert.deepEqual(way("0.0.0.0"), ["172.17.0.2", undefined]);
  assert.deepEqual(way("127.0.0.1"), ["172.17.0.2", undefined]);
  assert.deepEqual(way("::"), [undefined, "172.17.0.2"]);
  assert.deepEqual(way("2001:db8::1"), [undefined, "172.17.0.2"]);
  assert.deepEqual(way("::", dual), ["fd00::2", "fd00::2"]);
  assert.deepEqual(way("::1", dual), [undefined, "fd00::2"]);
  assert.deepEqual(way("2001:db8::1", dual), ["fd00::2", undefined]);
  assert.deepEqual(way("::", { ...dual, proxy: false }), ["fd00::2", undefined]);
  assert.deepEqual(way("0.0.0.0", { translates: () => false })[1], "172.17.0.2");
  assert.deepEqual(way("0.0.0.0", {}, "sctp"), ["172.17.0.2", undefined]);
  const routed = ruleOf({ protocol: "tcp", containerPort: 80, hostIp: "::", hostPort: 0 }, side(dual));
  assert.equal(routed?.hostPort, 80);
});

test("the port map of inspect", () => {
  const port = { protocol: "tcp", containerPort: 80 } as const;
  const published = [
    { ...port, hostIp: "0.0.0.0", hostPort: 32768 },
    { ...port, hostIp: "::", hostPort: 0 },
  ];
  assert.deepEqual(portMap(["80/tcp", "81"], published), {
    "80/tcp": [
      { HostIp: "0.0.0.0", HostPort: "32768" },
      { HostIp: "::", HostPort: "" },
    ],
    "81/tcp": null,
  });
});

test("one port of one address has one holder; unspecified ones are every address of their family", async () => {
  const ports = allocator();
  await ports.take(holder("a"), [binding(["127.0.0.1"], 80)], noTarget);
  await ports.take(holder("b"), [binding(["127.0.0.2"], 80)], noTarget);
  await ports.take(holder("b"), [binding(["::1"], 80)], noTarget);
  for (const address of ["127.0.0.1", "0.0.0.0", "::"]) {
    await assert.rejects(ports.take(holder("c"), [binding([address], 80)], noTarget), {
      message: /port is already allocated$/,
      hint: /^container [ab] has it$/,
    });
  }
  ports.release("a");
  await ports.take(holder("c"), [binding(["127.0.0.1"], 80)], noTarget);
});

test("all or nothing: a refusal gives back what was taken before it", async () => {
  const ports = allocator();
  await ports.take(holder("a"), [binding(["0.0.0.0", "::"], 80)], noTarget);
  const two = [binding(["0.0.0.0"], 81), binding(["0.0.0.0"], 80)];
  await assert.rejects(ports.take(holder("b"), two, noTarget));
  await ports.take(holder("c"), [binding(["0.0.0.0", "::"], 81)], noTarget);
});

test("random ports go round, past those other processes have, until none is left; both families get the same", async () => {
  const taken = new Set(["0.0.0.0 50001", ":: 50002"]);
  const closed: string[] = [];
  const ports = allocator({
    range: { first: 50_000, last: 50_004 },
    reserve: (_protocol, ip, port) => {
      if (taken.has(`${ip} ${port}`)) throw new SyscallError("bind", 98);
      return { close: () => closed.push(`${ip} ${port}`) } as never;
    },
  });
  const take = async (name: string) => {
    const both = await ports.take(holder(name), [binding(["0.0.0.0", "::"])], noTarget);
    assert.equal(both[0]?.hostPort, both[1]?.hostPort);
    return both[0]?.hostPort;
  };
  assert.equal(await take("a"), 50_000);
  assert.equal(await take("b"), 50_003);
  assert.deepEqual(closed, ["0.0.0.0 50002"]);
  ports.release("a");
  assert.equal(await take("c"), 50_004, "not the one just given back");
  assert.equal(await take("d"), 50_000);
  await assert.rejects(take("e"), /all ports are allocated$/);
});

test("one of a range of host ports: the first free", async () => {
  const ports = allocator();
  const any = [binding(["0.0.0.0", "::"], 8000, 8002)];
  const got: (number | undefined)[] = [];
  for (const name of ["a", "b", "c"]) got.push((await ports.take(holder(name), any, noTarget))[0]?.hostPort);
  assert.deepEqual(got, [8000, 8001, 8002]);
  await assert.rejects(ports.take(holder("d"), any, noTarget), /8002 failed: port is already allocated$/);
});

test("who has a port that is taken", async () => {
  const ports = allocator({
    reserve: () => {
      throw new SyscallError("bind", 98);
    },
    findOwner: (protocol, port) => Promise.resolve(`nginx ${protocol} ${port}`),
  });
  await assert.rejects(ports.take(holder("a"), [binding(["0.0.0.0"], 8080)], noTarget), {
    message: /: failed to bind host port for 0\.0\.0\.0:8080:172\.17\.0\.2:80\/tcp: address already in use$/,
    hint: "nginx tcp 8080 has it",
  });
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100",
    "   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20",
    "   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100",
  ].join("\n");
  assert.deepEqual(parseSockets(table, "tcp", 8080), ["4711"]);
  assert.deepEqual(parseSockets(table, "udp", 8080), ["4711", "4712"]);
});

test("more ports than there are descriptors are refused before any is taken", async () => {
  let opened = 0;
  const ports = allocator({
    descriptorLimit: 100,
    reserve: () => ({ close: () => opened--, number: opened++ }) as never,
  });
  const range = (count: number) =>
    Array.from({ length: count }, (_, n) => binding(["0.0.0.0", "::"], 1000 + n));
  await ports.take(holder("a"), range(30), noTarget);
  assert.equal(opened, 60);
  await assert.rejects(ports.take(holder("b"), range(8), noTarget), {
    message: /: too many ports: 8 take 16 sockets, and of 75 there are 15 left$/,
    hint: /100 open files/,
  });
  assert.equal(opened, 60);
  ports.release("a");
  assert.equal(opened, 0);
  await ports.take(holder("b"), range(37), noTarget);
});

test("thousands are taken and given back while others have their turn", async () => {
  let open = 0;
  const ports = allocator({
    descriptorLimit: 200_000,
    reserve: () => {
      open++;
      return { close: () => open-- } as never;
    },
  });
  const all = Array.from({ length: 40_000 }, (_, n) => binding(["0.0.0.0", "::"], n + 1));
  let turns = 0;
  const count = setInterval(() => turns++, 0);
  await ports.take(holder("a"), all, noTarget);
  ports.release("a");
  await ports.take(holder("b"), [binding(["0.0.0.0"], 40_000)], noTarget);
  clearInterval(count);
  assert.equal(open, 1);
  assert.ok(turns > 2, `${turns} turns`);
});

test("the kernel's range, and what is used without it", () => {
  assert.deepEqual(readEphemeralRange("/nonexistent"), { first: 49_153, last: 65_535 });
});
