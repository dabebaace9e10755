import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";
import { type CreateFacts, composeNetwork } from "#networks/network-create.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

const facts: CreateFacts = {
  networks: [],
  usedByHost: () => [],
  hasInterface: () => false,
  kernelHasIpv6: true,
};
const compose = (request: NetworkCreateRequest, known: Partial<CreateFacts> = {}, pools = [] as never[]) =>
  composeNetwork({ Name: "n", ...request }, { ...facts, ...known }, { defaultAddressPools: pools });
const prefixes = (...texts: string[]) => texts.flatMap((text) => parseCidr(text)?.prefix ?? []);
const other: NetworkRecord = {
  id: "f".repeat(64),
  name: "other",
  driver: "bridge",
  created: "",
  config: { bridge: "br-other", subnet: "172.18.0.0/16", gateway: "172.18.0.1" },
};

test("a network without wishes: a free pool, the first address, a bridge named after its id", () => {
  const { id, config } = compose({}, { networks: [other], usedByHost: () => prefixes("172.17.3.0/24") });
  assert.equal(config.subnet, "172.19.0.0/16");
  assert.equal(config.gateway, "172.19.0.1");
  assert.equal(config.bridge, `br-${id.slice(0, 12)}`);
  assert.equal(config.chosenSubnet, false);
  assert.equal(config.ipv6, undefined);
});

test("wishes are kept as they were given, for inspect", () => {
  const { config } = compose({
    Internal: true,
    Attachable: true,
    Labels: { a: "b" },
    Options: { "com.docker.network.driver.mtu": "1400", mine: "x" },
    IPAM: {
      Options: { o: "p" },
      Config: [
        {
          Subnet: "10.1.0.0/16",
          IPRange: "10.1.2.0/24",
          Gateway: "10.1.9.9",
          AuxiliaryAddresses: { r: "10.1.2.1" },
        },
      ],
    },
  });
  const { bridge: _, ...rest } = config;
  assert.deepEqual(rest, {
    labels: { a: "b" },
    options: { "com.docker.network.driver.mtu": "1400", mine: "x" },
    ipamOptions: { o: "p" },
    internal: true,
    attachable: true,
    subnet: "10.1.0.0/16",
    gateway: "10.1.9.9",
    range: "10.1.2.0/24",
    reserved: { r: "10.1.2.1" },
    chosenSubnet: true,
    chosenSubnet6: false,
  });
});

test("IPv6 gets a subnet of its own, in the private range, or the one asked for", () => {
  assert.match(compose({ EnableIPv6: true }).config.ipv6?.subnet ?? "", /^fd[0-9a-f]{2}:[0-9a-f:]+::\/64$/);
  const asked = compose({ EnableIPv6: true, IPAM: { Config: [{ Subnet: "fd00:1::/64" }] } }).config;
  assert.deepEqual(asked.ipv6, { subnet: "fd00:1::/64", gateway: "fd00:1::1" });
  assert.equal(asked.chosenSubnet, false);
  assert.equal(asked.chosenSubnet6, true);
});

test("the daemon's pools, each for its family", () => {
  const pools = [
    { base: "fd00::/48", size: 64 },
    { base: "10.9.0.0/16", size: 24 },
  ] as never[];
  assert.equal(compose({}, {}, pools).config.subnet, "10.9.0.0/24");
});

test("an interface that is there already is used, and noted as not ours", () => {
  const Options = { "com.docker.network.bridge.name": "office0" };
  assert.equal(compose({ Options }, { hasInterface: (name) => name === "office0" }).config.foundBridge, true);
  assert.equal(compose({ Options }).config.foundBridge, undefined);
});

test("IPv6 alone", () => {
  const { config } = compose({ EnableIPv4: false, EnableIPv6: true });
  assert.deepEqual([config.subnet, config.gateway], [undefined, undefined]);
  assert.match(config.ipv6?.gateway ?? "", /::1$/);
});

test("the gateway of a bridge is the first address that nobody else has", () => {
  const pool = { Subnet: "10.1.0.0/24", AuxiliaryAddresses: { router: "10.1.0.1", other: "10.1.0.2" } };
  assert.equal(compose({ IPAM: { Config: [pool] } }).config.gateway, "10.1.0.3");
});

test("a network on a wire: any number of subnets, and no gateway but the one it is told", () => {
  const Config = [
    { Subnet: "10.1.0.0/24" },
    { Subnet: "fd00:1::/64", Gateway: "fd00:1::9" },
    { Subnet: "10.2.0.0/24", Gateway: "10.2.0.254" },
  ];
  const request = { Driver: "macvlan", EnableIPv6: true, Options: { parent: "wire0" }, IPAM: { Config } };
  const { driver, config } = compose(request, { hasInterface: (name) => name === "wire0" });
  assert.deepEqual([driver, config.parent, config.madeParent], ["macvlan", "wire0", undefined]);
  assert.deepEqual([config.subnet, config.gateway], ["10.1.0.0/24", undefined]);
  assert.deepEqual(config.ipv6, { subnet: "fd00:1::/64", gateway: "fd00:1::9" });
  assert.deepEqual(config.morePools, [{ subnet: "10.2.0.0/24", gateway: "10.2.0.254" }]);
  assert.equal(compose({ ...request, Options: {} }).config.madeParent, true);
});

test("one network's configuration is another's", () => {
  const template = compose({
    Name: "template",
    ConfigOnly: true,
    Driver: "anything",
    Labels: { a: "b" },
    Options: { parent: "wire0" },
    IPAM: { Config: [{ Subnet: "10.1.0.0/24", Gateway: "10.1.0.9" }] },
  });
  assert.equal(template.driver, "null");
  assert.equal(template.config.subnet, undefined);
  const networks = [template];
  const ConfigFrom = { Network: "template" };
  const { config } = compose({ Driver: "macvlan", ConfigFrom }, { networks });
  assert.deepEqual([config.parent, config.gateway, config.configFrom], ["wire0", "10.1.0.9", "template"]);
  assert.deepEqual(config.labels, { a: "b" });
  const refusals: [NetworkCreateRequest, string, RegExp][] = [
    [{ ConfigFrom, Options: { c: "d" } }, "forbidden", /^network driver options are not supported/],
    [{ ConfigFrom, Labels: { c: "d" } }, "forbidden", /^user specified configurations are not supported/],
    [{ ConfigFrom: { Network: "x" } }, "not-found", /^configuration network "x" does not exist$/],
    [{ ConfigOnly: true, ConfigFrom }, "forbidden", /^a configuration network cannot depend on/],
    [{ ConfigOnly: true, Internal: true }, "forbidden", /^configuration network can only contain/],
  ];
  for (const [request, code, message] of refusals) {
    assert.throws(() => compose(request, { networks }), { code, message });
  }
});

test("refusals, by kind", () => {
  const cases: [NetworkCreateRequest, string, RegExp][] = [
    [{ Name: " " }, "invalid", /^invalid name: name is empty$/],
    [{ Name: "none" }, "forbidden", /^operation is not permitted on predefined none network$/],
    [{ Name: "other" }, "conflict", /^network with name other already exists$/],
    [{ Driver: "null" }, "forbidden", /^only one instance of "null" network is allowed$/],
    [{ Driver: "weave" }, "not-found", /^plugin "weave" not found$/],
    [{ Ingress: true }, "forbidden", /^Ingress network can only be global scope network$/],
    [{ Scope: "swarm" }, "forbidden", /^cannot create a swarm scoped network when swarm is not active$/],
    [{ Scope: "global" }, "unavailable", /^This node is not a swarm manager/],
    [{ Driver: "overlay" }, "unavailable", /^This node is not a swarm manager/],
    [{ IPAM: { Driver: "null" } }, "invalid", /^ipv4 pool is empty$/],
    [{ EnableIPv4: false }, "invalid", /^IPv4 or IPv6 must be enabled$/],
    [
      { IPAM: { Config: [{ Subnet: "10.1.0.0/16" }, { Subnet: "10.2.0.0/16" }] } },
      "forbidden",
      /^bridge driver doesn't support multiple subnets$/,
    ],
    [
      { Driver: "macvlan", IPAM: { Config: [{ Subnet: "10.1.0.0/16" }, { Subnet: "10.1.2.0/24" }] } },
      "forbidden",
      /Pool overlaps with other one/,
    ],
    [
      { IPAM: { Config: [{ Subnet: "10.1.0.0/16", Gateway: "10.1.0.0" }] } },
      "internal",
      /^failed to allocate gateway \(10.1.0.0\): Address already in use$/,
    ],
    [
      {
        IPAM: {
          Config: [{ Subnet: "10.1.0.0/16", Gateway: "10.1.0.9", AuxiliaryAddresses: { a: "10.1.0.9" } }],
        },
      },
      "internal",
      /^failed to allocate secondary ip address \(a:10.1.0.9\): Address already in use$/,
    ],
    [{ IPAM: { Config: [{ Subnet: "172.18.9.0/24" }] } }, "forbidden", /Pool overlaps with other one/],
    [{ IPAM: { Config: [{ Subnet: "172.0.0.0/8" }] } }, "forbidden", /Pool overlaps with other one/],
    [
      { Options: { "com.docker.network.bridge.name": "br-other" } },
      "forbidden",
      /networks have same bridge name$/,
    ],
    [
      { Options: { "com.docker.network.bridge.enable_icc": "perhaps" } },
      "invalid",
      /^failed to parse com.docker.network.bridge.enable_icc value: perhaps /,
    ],
    [
      { Options: { "com.docker.network.bridge.name": "a name that is far too long" } },
      "invalid",
      /bridge name/,
    ],
    [{ Options: { "com.docker.network.driver.mtu": "1" } }, "invalid", /mtu/],
    [
      { Options: { "com.docker.network.bridge.gateway_mode_ipv6": "x" } },
      "invalid",
      /unknown gateway mode x/,
    ],
    [
      { Options: { "com.docker.network.bridge.gateway_mode_ipv4": "isolated" } },
      "invalid",
      /internal network$/,
    ],
  ];
  for (const [request, code, message] of cases) {
    assert.throws(
      () => compose(request, { networks: [other] }),
      (error: Error & { code: string }) => {
        assert.match(error.message, message);
        assert.equal(error.code, code, error.message);
        return true;
      },
    );
  }
});
