import assert from "node:assert/strict";
import { test } from "node:test";
import { type BridgeFacts, planBridge, planConfig } from "#networks/drivers/bridge-plan.ts";
import { parseAddress, parseCidr } from "#networks/ipam/prefix.ts";

const options = { bip: undefined, fixedCidr: undefined, defaultAddressPools: [] };
const ownSubnet6 = parseCidr("fd11::/64")?.prefix;
const facts: BridgeFacts = { present: undefined, remembered: {}, used: [], ownSubnet6 };
const used = (...texts: string[]) => texts.flatMap((text) => parseCidr(text)?.prefix ?? []);
const plan = (changes: Partial<Parameters<typeof planBridge>[0]>, known: Partial<BridgeFacts> = {}) =>
  planConfig("b", planBridge({ ...options, ...changes }, { ...facts, ...known }));

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

test("IPv6 where it is asked for: an own subnet, the one given, or the address given", () => {
  const ipv6 = (changes: Partial<Parameters<typeof planBridge>[0]>) => plan({ ipv6: true, ...changes }).ipv6;
  assert.equal(plan({ fixedCidr6: "fd22::/64" }).ipv6, undefined, "not asked for");
  assert.deepEqual(ipv6({}), { subnet: "fd11::/64", gateway: "fd11::1" });
  assert.deepEqual(ipv6({ fixedCidr6: "fd22::/80" }), { subnet: "fd22::/80", gateway: "fd22::1" });
  assert.deepEqual(ipv6({ bip6: "fd33::9/64", fixedCidr6: "fd33::f0:0/112" }), {
    subnet: "fd33::/64",
    gateway: "fd33::9",
    range: "fd33::f0:0/112",
  });
  for (const wrong of [{ bip6: "10.5.0.1/24" }, { bip6: "fd33::/64" }, { fixedCidr6: "fd22::/127" }]) {
    assert.throws(() => ipv6(wrong), { code: "invalid" }, JSON.stringify(wrong));
  }
  assert.throws(() => ipv6({ bip6: "fd33::1/64", fixedCidr6: "fd22::/64" }), /invalid fixed-cidr-v6 fd22::/);
  assert.throws(() => plan({ ipv6: true }, { ownSubnet6: undefined }), /this kernel has none/);
});
