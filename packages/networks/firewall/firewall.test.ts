/** What is due when, with a back end that only notes what it is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import type { BridgeRules, PortRule } from "#networks/firewall/desired-rules.ts";
import { Firewall } from "#networks/firewall/firewall.ts";
import type { FirewallBackend, FirewallChange } from "#networks/firewall/firewall-backend.ts";
import { FirewallRecord, type FirewallTrace } from "#networks/firewall/firewall-record.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";
import { networkMigrations } from "#networks/schema.ts";
import { Database } from "#state/database.ts";
import { eventually } from "#test/fixtures/eventually.ts";

class Notes implements FirewallBackend {
  readonly changes: FirewallChange[] = [];
  fails = false;
  touched = false;
  whole = true;
  close(): void {}
  async apply(change: FirewallChange): Promise<void> {
    this.changes.push(change);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.fails) throw new Error("refused");
  }
  intact(): Promise<boolean> {
    return Promise.resolve(this.whole);
  }
  disturbed(): boolean {
    const { touched } = this;
    this.touched = false;
    return touched;
  }
  async denyForwarding(): Promise<void> {}
}

function make() {
  const database = Database.open(":memory:", [networkMigrations]);
  const record = new FirewallRecord(database);
  const backend = new Notes();
  const removed: FirewallTrace[] = [];
  const firewall = new Firewall({
    backend,
    families: [4],
    record,
    traceOf: (name) => ({ backend: "iptables", name }),
    removeTrace: async (trace) => void removed.push(trace),
    logger: silentLogger,
  });
  return { backend, firewall, record, removed, [Symbol.dispose]: () => database[Symbol.dispose]() };
}

function rulesOf(bridge: string, cidr = "172.17.0.0/16"): BridgeRules {
  const subnet = parseCidr(cidr)?.prefix;
  assert.ok(subnet);
  return { bridge, subnet, masquerade: true, icc: false, internal: false };
}

const port = (hostPort: number, containerIp = "172.17.0.2"): PortRule => ({
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort,
  containerIp,
  containerPort: 80,
});

/** A change in short: "whole a", "ports a: 80 81", "gone a". */
function short(change: FirewallChange | undefined): string[] {
  const list = (ports: readonly PortRule[]) => ports.map(({ hostPort }) => ` ${hostPort}`).join("");
  return [
    ...(change?.whole ?? []).map(({ bridge, ports }) => `whole ${bridge}:${list(ports)}`),
    ...(change?.ports ?? []).map(({ bridge, ports }) => `ports ${bridge}:${list(ports)}`),
    ...(change?.gone ?? []).map(({ bridge }) => `gone ${bridge}`),
  ];
}

test("what is noted in one turn is one change; what comes meanwhile is the next", async () => {
  using made = make();
  const { firewall, backend } = made;
  firewall.set("a", [rulesOf("a")]);
  const first = firewall.apply();
  firewall.set("b", [rulesOf("b")]);
  await Promise.all([first, firewall.apply()]);
  assert.deepEqual(backend.changes.map(short), [["whole a:", "whole b:"]]);
  firewall.publish("a", "one", [port(1)]);
  const applying = firewall.apply();
  await null;
  await null;
  firewall.publish("a", "two", [port(2)]);
  const second = firewall.apply();
  firewall.publish("b", "three", [port(3)]);
  await Promise.all([applying, second, firewall.apply()]);
  assert.deepEqual(backend.changes.slice(1).map(short), [["ports a: 1"], ["ports a: 1 2", "ports b: 3"]]);
});

test("after a failure, the whole bridge is due again; only who waited for it is told", async () => {
  using made = make();
  const { firewall, backend } = made;
  firewall.set("a", [rulesOf("a")]);
  await firewall.apply();
  backend.fails = true;
  firewall.publish("a", "one", [port(1)]);
  await assert.rejects(firewall.apply(), /refused/);
  backend.fails = false;
  firewall.withdraw("a", "one");
  firewall.publish("a", "two", [port(2)]);
  await firewall.apply();
  assert.deepEqual(short(backend.changes.at(-1)), ["whole a: 2"]);
});

test("what cannot be taken away now is taken away later, without anybody asking again", async () => {
  using made = make();
  const { firewall, backend } = made;
  await firewall.start(new Set(["a"]));
  firewall.set("a", [rulesOf("a")]);
  firewall.publish("a", "one", [port(1)]);
  await firewall.apply();
  backend.fails = true;
  firewall.withdraw("a", "one");
  await assert.rejects(firewall.apply(), /refused/);
  backend.fails = false;
  const before = backend.changes.length;
  await eventually(() => assert.ok(backend.changes.length > before));
  assert.deepEqual(short(backend.changes.at(-1)), ["whole a:"]);
  await firewall.close();
});

test("a family that may not be touched has no rules, and nothing is published in it", async () => {
  using made = make();
  const { firewall, backend } = made;
  assert.ok(firewall.covers(4));
  assert.ok(!firewall.covers(6));
  firewall.set("a", [rulesOf("a"), rulesOf("a", "fd00::/64")]);
  firewall.publish("a", "one", [port(1), port(2, "fd00::2")]);
  await firewall.apply();
  assert.deepEqual(Object.keys(backend.changes[0]?.whole[0]?.rules ?? {}), ["4"]);
  assert.deepEqual(short(backend.changes[0]), ["whole a: 1"]);
});

test("links end with either endpoint", async () => {
  using made = make();
  const { firewall, backend } = made;
  firewall.set("a", [rulesOf("a")]);
  const link = { from: "172.17.0.3", to: "172.17.0.2", protocol: "tcp", port: 80, peer: "server" } as const;
  assert.ok(firewall.permit("a", "client", [link]));
  assert.ok(!firewall.permit("a", "client", [link]), "nothing new");
  await firewall.apply();
  assert.equal(backend.changes[0]?.whole[0]?.links.length, 1);
  assert.ok(firewall.forget("a", "server"));
  await firewall.apply();
  assert.equal(backend.changes[1]?.whole[0]?.links.length, 0);
  firewall.permit("a", "client", [link]);
  assert.ok(firewall.forget("a", "client"));
  assert.ok(!firewall.forget("a", "client"));
});

test("the record says what may be there; what no bridge wants any more is removed by the next start", async () => {
  using made = make();
  const { firewall, record, removed } = made;
  firewall.set("a", [rulesOf("a")]);
  firewall.set("b", [rulesOf("b")]);
  await firewall.apply();
  assert.deepEqual(
    record.all().map(({ name }) => name),
    ["a", "b"],
  );
  await firewall.remove("a");
  assert.deepEqual(
    record.all().map(({ name }) => name),
    ["b"],
  );
  record.note([{ backend: "nftables", name: "berth-b" }]);
  await firewall.start(new Set(["b"]));
  assert.deepEqual(removed, [{ backend: "nftables", name: "berth-b" }]);
  assert.deepEqual(record.all(), [{ backend: "iptables", name: "b" }]);
  await firewall.close();
});

test("what others have taken away is put back, in one change, and only if it is missing", async () => {
  using made = make();
  const { firewall, backend } = made;
  await firewall.start(new Set());
  firewall.set("a", [rulesOf("a")]);
  firewall.set("b", [rulesOf("b")]);
  firewall.publish("b", "one", [port(1)]);
  await firewall.apply();
  backend.whole = false;
  backend.touched = true;
  await eventually(() => assert.equal(backend.changes.length, 2));
  assert.deepEqual(short(backend.changes[1]), ["whole a:", "whole b: 1"]);
  await firewall.close();
});
