import assert from "node:assert/strict";
import { test } from "node:test";
import { type BridgeFacts, planBridge, planConfig } from "#networks/drivers/bridge-plan.ts";
import { parseAddress, parseCidr } from "#networks/ipam/prefix.ts";

const options = { bip: undefined, fixedCidr: undefined, defaultAddressPools: [] };
const facts: BridgeFacts = { present: undefined, remembered: {}, used: [] };
const used = (...texts: string[]) => texts.flatMap((text) => parseCidr(text)?.prefix ?? []);
const plan = (
  changes: Partial<typeof options> | { bip: string; fixedCidr?: string },
  known: Partial<BridgeFacts> = {},
) => planConfig("b", planBridge({ ...options, ...changes }, { ...facts, ...known }));

test("a free pool, its first address for the gateway", () => {
  assert.deepEqual(plan({}, { used: used("172.17.0.0/16") }), {
    bridge: "b",
    subnet: "172.18.0.0/16",
    gateway: "172.18.0.1",
  });
});

test("what is remembered stays, unless the host has moved in", () => {
  const remembered = { subnet: "172.20.0.0/16", gateway: "172.20.0.1" };
  assert.equal(plan({}, { remembered }).subnet, "172.20.0.0/16");
  assert.equal(plan({}, { remembered, used: used("172.20.3.0/24") }).subnet, "172.17.0.0/16");
});

test("an existing bridge keeps its address", () => {
  const address = parseAddress("10.1.2.3");
  assert.ok(address);
  const config = plan(
    {},
    { present: { address, prefixLength: 24 }, remembered: { subnet: "172.20.0.0/16" } },
  );
  assert.deepEqual(config, { bridge: "b", subnet: "10.1.2.0/24", gateway: "10.1.2.3" });
});

test("bip before all, with a part to give addresses from", () => {
  assert.deepEqual(plan({ bip: "10.5.0.7/24", fixedCidr: "10.5.0.128/25" }, { used: used("10.0.0.0/8") }), {
    bridge: "b",
    subnet: "10.5.0.0/24",
    gateway: "10.5.0.7",
    range: "10.5.0.128/25",
  });
});

test("what cannot be a bridge's address or range", () => {
  for (const bip of ["10.5.0.0/24", "10.5.0.1", "fd00::1/64", "10.5.0.1/31", "x"]) {
    assert.throws(() => plan({ bip }), { code: "invalid" }, bip);
  }
  assert.throws(() => plan({ bip: "10.5.0.1/24", fixedCidr: "10.6.0.0/25" }), { code: "invalid" });
});
