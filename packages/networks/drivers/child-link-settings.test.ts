import assert from "node:assert/strict";
import { test } from "node:test";
import { checkParent, childLinkSettings, parseVlan } from "#networks/drivers/child-link-settings.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

const record = (
  driver: "macvlan" | "ipvlan",
  options: Record<string, string>,
  id = "a".repeat(64),
): NetworkRecord => ({
  id,
  name: id.slice(0, 4),
  driver,
  created: "",
  config: { options, ...(options.parent && { parent: options.parent }) },
});

test("modes, and what there is without wishes", () => {
  const { child, parent, alone, mtu } = childLinkSettings(record("macvlan", { parent: "eth1" }));
  assert.deepEqual(
    [child, parent, alone, mtu],
    [{ kind: "macvlan", mode: "bridge" }, "eth1", false, undefined],
  );
  assert.deepEqual(childLinkSettings(record("ipvlan", {})).child, {
    kind: "ipvlan",
    mode: "l2",
    flag: "bridge",
  });
  assert.deepEqual(childLinkSettings(record("ipvlan", { ipvlan_mode: "l3s", ipvlan_flag: "vepa" })).child, {
    kind: "ipvlan",
    mode: "l3s",
    flag: "vepa",
  });
});

test("without a parent it gets one of its own, and nothing leads out", () => {
  const settings = childLinkSettings(record("macvlan", { "com.docker.network.driver.mtu": "1400" }));
  assert.deepEqual([settings.parent, settings.alone], ["dm-aaaaaaaaaaaa", true]);
  assert.deepEqual([settings.internal, settings.mtu], [true, 1400]);
  assert.equal(childLinkSettings(record("ipvlan", {})).parent, "di-aaaaaaaaaaaa");
});

test("what makes no sense", () => {
  const cases: [NetworkRecord, RegExp][] = [
    [record("macvlan", { parent: "lo" }), /^loopback interface is not a valid macvlan parent link$/],
    [
      record("macvlan", { macvlan_mode: "l2" }),
      /^requested macvlan mode 'l2' is not valid, 'bridge' mode is the macvlan driver default$/,
    ],
    [record("macvlan", { macvlan_mode: "toString" }), /is not valid/],
    [
      record("ipvlan", { ipvlan_mode: "bridge" }),
      /^requested ipvlan mode 'bridge' is not valid, 'l2' mode is the ipvlan driver default$/,
    ],
    [
      record("ipvlan", { ipvlan_flag: "x" }),
      /^requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default$/,
    ],
    [record("macvlan", { parent: "a name that is far too long" }), /^invalid parent interface name/],
  ];
  for (const [asked, message] of cases) {
    assert.throws(() => childLinkSettings(asked), { code: "invalid", message });
  }
});

test("sub-interfaces", () => {
  assert.deepEqual(parseVlan("eth0.50"), { parent: "eth0", id: 50 });
  const cases: [string, RegExp][] = [
    ["eth9", /^invalid subinterface vlan name eth9, example formatting is eth0.10$/],
    ["eth0.1.2", /^required interface name format is: name.vlan_id/],
    ["eth0.x", /^unable to parse a valid vlan id from: x/],
    ["eth0.0", /^vlan id must be between 1-4094, received: 0$/],
    ["eth0.4095", /^vlan id must be between 1-4094, received: 4095$/],
  ];
  for (const [name, message] of cases) {
    assert.throws(() => parseVlan(name), { code: "invalid", message });
  }
});

test("macvlan networks share a parent, unless one takes all of it; ipvlan shares none", () => {
  const eth = { parent: "eth1" };
  const check = (asked: NetworkRecord, there: NetworkRecord) =>
    checkParent(childLinkSettings(asked), [there]);
  const other = "b".repeat(64);
  check(record("macvlan", eth), record("macvlan", eth, other));
  check(record("ipvlan", eth), record("ipvlan", { parent: "eth2" }, other));
  assert.throws(() => check(record("ipvlan", eth), record("ipvlan", eth, other)), {
    message: "network di-bbbbbbbbbbbb is already using parent interface eth1",
  });
  assert.throws(() => check(record("macvlan", eth), record("ipvlan", eth, other)), /already using parent/);
  const passthru = { ...eth, macvlan_mode: "passthru" };
  assert.throws(() => check(record("macvlan", passthru), record("macvlan", eth, other)), {
    message: `cannot use mode passthru, macvlan network ${other} is already using parent interface eth1`,
  });
  assert.throws(() => check(record("macvlan", eth), record("macvlan", passthru, other)), {
    message: `macvlan network ${other} is already using parent interface eth1 in mode passthru`,
  });
});
