import assert from "node:assert/strict";
import { test } from "node:test";
import type { IpamConfig } from "#api-types/network.ts";
import { wantedPools } from "#networks/ipam/pool-request.ts";
import { formatAddress, formatPrefix } from "#networks/ipam/prefix.ts";

const dual = { ipv4: true, ipv6: true };
const only4 = { ipv4: true, ipv6: false };

const problemsOf = (config: IpamConfig, enabled = only4): string[] => {
  try {
    wantedPools([config], enabled);
    return [];
  } catch (error) {
    return (error as Error).message.split("\n");
  }
};

test("a pool of each family, with what belongs to it", () => {
  const { ipv4, ipv6 } = wantedPools(
    [
      { Subnet: "fd00:1::/64", Gateway: "fd00:1::9" },
      {
        Subnet: "10.1.0.0/16",
        IPRange: "10.1.8.0/24",
        Gateway: "10.1.0.1",
        AuxiliaryAddresses: { router: "10.1.8.1" },
      },
    ],
    dual,
  );
  const [pools, pools6] = [ipv4[0], ipv6[0]];
  assert.ok(pools?.range && pools.gateway && pools6?.gateway);
  assert.equal(formatPrefix(pools.subnet), "10.1.0.0/16");
  assert.equal(formatPrefix(pools.range), "10.1.8.0/24");
  assert.equal(formatAddress(pools.gateway), "10.1.0.1");
  assert.deepEqual(pools.reserved, { router: "10.1.8.1" });
  assert.equal(formatAddress(pools6.gateway), "fd00:1::9");
});

test("nothing asked for is nothing chosen", () => {
  assert.deepEqual(wantedPools([], only4), { ipv4: [], ipv6: [] });
  assert.deepEqual(wantedPools([{}], only4), { ipv4: [], ipv6: [] });
});

test("each mistake in Docker's words, all at once", () => {
  const Subnet = "10.1.0.0/16";
  const cases: [IpamConfig, string[]][] = [
    [{ Subnet: "x" }, ["invalid subnet x: invalid CIDR block notation"]],
    [{ Subnet: "10.1.0.1/16" }, ["invalid subnet 10.1.0.1/16: it should be 10.1.0.0/16"]],
    [{ Subnet: "fd00::/64" }, ["invalid subnet fd00::/64: IPv6 has not been enabled for this network"]],
    [{ Subnet, IPRange: "10.1.8.1/24" }, ["invalid ip-range 10.1.8.1/24: it should be 10.1.8.0/24"]],
    [
      { Subnet, IPRange: "10.0.0.0/8" },
      ["invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16"],
    ],
    [
      { Subnet, IPRange: "10.2.0.0/24" },
      ["invalid ip-range 10.2.0.0/24: parent subnet 10.1.0.0/16 doesn't contain ip-range"],
    ],
    [{ Subnet, IPRange: "fd00::/80" }, ["invalid ip-range fd00::/80: parent subnet is an IPv4 block"]],
    [
      { Subnet, Gateway: "10.2.0.1", AuxiliaryAddresses: { a: "10.3.0.1", b: "nine" } },
      [
        "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
        "invalid auxiliary address 10.3.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
        "invalid auxiliary address nine: invalid address",
      ],
    ],
    [{ Subnet, Gateway: "fd00::1" }, ["invalid gateway fd00::1: parent subnet is an IPv4 block"]],
  ];
  for (const [config, problems] of cases) {
    assert.deepEqual(problemsOf(config), ["invalid network config:", ...problems]);
  }
});

test("a family that the network has not has no subnet; one that it has may have several", () => {
  assert.deepEqual(problemsOf({ Subnet: "10.1.0.0/16" }, { ipv4: false, ipv6: true }), [
    "invalid network config:",
    "invalid subnet 10.1.0.0/16: IPv4 has not been enabled for this network",
  ]);
  const { ipv4 } = wantedPools([{ Subnet: "10.1.0.0/16" }, { Subnet: "10.2.0.0/16" }], only4);
  assert.deepEqual(
    ipv4.map(({ subnet }) => formatPrefix(subnet)),
    ["10.1.0.0/16", "10.2.0.0/16"],
  );
});
