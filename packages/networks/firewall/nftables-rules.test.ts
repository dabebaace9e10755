/** The tables as messages: what is in them, by names; that the kernel takes and heeds them, the laboratory shows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { attributeText, parseAttributes, parseMessages } from "#kernel/netlink/message-codec.ts";
import { type BatchMessage, batch } from "#kernel/netlink/nftables-messages.ts";
import type { BridgeRules, BridgeState, PortRule } from "#networks/firewall/desired-rules.ts";
import { portMessages } from "#networks/firewall/nftables-ports.ts";
import { tableMessages } from "#networks/firewall/nftables-rules.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";

const NAMES = new Map([
  [0, "new table"],
  [2, "delete table"],
  [3, "new chain"],
  [6, "new rule"],
  [9, "new set"],
  [12, "add"],
  [14, "remove"],
]);

const port: PortRule = {
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort: 8080,
  containerIp: "172.17.0.2",
  containerPort: 80,
};

function rulesOf(changes: Partial<BridgeRules> = {}): BridgeRules {
  const subnet = parseCidr("172.17.0.0/16")?.prefix;
  assert.ok(subnet);
  return { bridge: "berth0", subnet, masquerade: true, icc: true, internal: false, ...changes };
}

function bridge(changes: Partial<BridgeRules> = {}, ports: readonly PortRule[] = []): BridgeState {
  return { bridge: "berth0", rules: { 4: rulesOf(changes) }, ports, links: [] };
}

/** Each message as what it does and to what: attribute 2 is the set of elements and the chain of a rule, 3 a chain's name. */
function told(messages: readonly BatchMessage[]): string[] {
  return parseMessages(batch(messages))
    .slice(1, -1)
    .map(({ type, payload }) => {
      const attributes = parseAttributes(payload, 4);
      const name = NAMES.get(type & 0xff) ?? String(type & 0xff);
      const text = (number: number) => attributeText(attributes.get(number) ?? Buffer.alloc(0));
      if (name.endsWith("table")) return `${name} ${text(1)}`;
      return `${name} ${text(name === "new chain" ? 3 : 2)}`;
    });
}

/** The messages of rules of one chain, as text for looking into. */
function rulesIn(messages: readonly BatchMessage[], chain: string): string[] {
  return parseMessages(batch(messages))
    .filter(({ type, payload }) => {
      return (
        (type & 0xff) === 6 && attributeText(parseAttributes(payload, 4).get(2) ?? Buffer.alloc(0)) === chain
      );
    })
    .map(({ payload }) => payload.toString("latin1"));
}

test("a table is made anew in one batch; where nothing is wanted, nothing is left", () => {
  const messages = told(tableMessages("t", 4, [bridge({}, [port, { ...port, hostIp: "127.0.0.1" }])]));
  assert.deepEqual(messages.slice(0, 3), ["new table t", "delete table t", "new table t"]);
  assert.deepEqual(
    messages.filter((message) => message.startsWith("add")),
    ["add bridges", "add into", "add published-at", "add published"],
  );
  assert.deepEqual(told(tableMessages("t", 4, [])), ["new table t", "delete table t"]);
  assert.deepEqual(told(tableMessages("t", 6, [bridge()])), ["new table t", "delete table t"]);
});

test("a port more is one element, and one less as well", () => {
  const rules = rulesOf();
  const other = { ...port, hostPort: 8081 };
  assert.deepEqual(told(portMessages("t", 4, [{ rules, gone: [], added: [port] }])), ["add published"]);
  assert.deepEqual(told(portMessages("t", 4, [{ rules, gone: [port], added: [other] }])), [
    "remove published",
    "add published",
  ]);
  assert.deepEqual(told(portMessages("t", 4, [{ rules, gone: [], added: [] }])), []);
});

test("a key is protocol and port, each of four bytes; the datum is address and port", () => {
  const [message] = parseMessages(
    batch(portMessages("t", 4, [{ rules: rulesOf(), gone: [], added: [port] }])),
  ).slice(1, -1);
  const hex = message?.payload.toString("hex") ?? "";
  assert.ok(hex.includes("060000001f900000"), "tcp . 8080");
  assert.ok(hex.includes("ac11000200500000"), "172.17.0.2 . 80");
});

test("many ports are as many messages as it takes: an attribute has sixteen bits for its length", () => {
  const added = Array.from({ length: 1000 }, (_, at) => ({ ...port, hostPort: 1000 + at }));
  const messages = told(portMessages("t", 4, [{ rules: rulesOf(), gone: [], added }]));
  assert.deepEqual(messages, ["add published", "add published", "add published"]);
});

test("one port twice, as while it moves between networks, is one element", () => {
  const rules = rulesOf();
  const both = [port, { ...port, containerIp: "172.17.0.3" }];
  const [message] = parseMessages(batch(portMessages("t", 4, [{ rules, gone: [], added: both }]))).slice(
    1,
    -1,
  );
  const hex = message?.payload.toString("hex") ?? "";
  assert.ok(!hex.includes("ac110002"));
  assert.ok(hex.includes("ac110003"));
});

test("an internal network has neither ports nor masquerading, and a way out that is shut", () => {
  const messages = tableMessages("t", 4, [bridge({ internal: true }, [port])]);
  assert.deepEqual(
    told(messages).filter((message) => message.startsWith("add")),
    ["add bridges", "add into", "add out-of"],
  );
  assert.deepEqual(rulesIn(messages, "leaving"), []);
});

test("a routed network opens container ports, and translates nothing", () => {
  const messages = tableMessages("t", 4, [bridge({ gatewayMode: "routed" }, [port])]);
  assert.ok(told(messages).includes("add open"));
  assert.ok(!told(messages).includes("add published"));
  assert.deepEqual(rulesIn(messages, "leaving"), []);
  assert.ok(rulesIn(messages, "into-berth0").some((rule) => rule.includes("open\0")));
});
