import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointSettings } from "#api-types/network.ts";
import {
  chooseGateways,
  dnsNames,
  nextLink,
  planEndpoints,
  publishingNetwork,
} from "#networks/endpoint-plan.ts";
import type { Network, NetworkTable } from "#networks/network-table.ts";
import type { SandboxRequest } from "#networks/network-types.ts";

function network(name: string, routes = { ipv4: true, ipv6: false }, driver = "bridge"): Network {
  return { record: { id: `${name}-id`, name, driver }, driver: { routes } } as unknown as Network;
}

const all = [
  network("bridge"),
  network("alpha"),
  network("beta", { ipv4: true, ipv6: true }),
  network("inner", { ipv4: false, ipv6: false }),
  network("host", { ipv4: false, ipv6: false }, "host"),
];
const table = {
  ofMode: (name: string) => {
    const found = all.find(({ record }) => record.name === (name === "default" ? "bridge" : name));
    assert.ok(found, name);
    return found;
  },
} as unknown as NetworkTable;

const plan = (mode: string, endpoints: Record<string, Partial<EndpointSettings>>, detached = false) =>
  planEndpoints({ mode, endpoints, detached } as SandboxRequest, table);
const names = (...args: Parameters<typeof plan>) =>
  plan(...args).map((planned) => planned.network.record.name);

test("the network of the mode, unless others are named", () => {
  assert.deepEqual(names("default", {}), ["bridge"]);
  assert.deepEqual(names("alpha", { beta: {} }), ["beta"]);
  assert.deepEqual(names("alpha", {}, true), []);
});

test("the mode's own is first, the others as they would lead out", () => {
  assert.deepEqual(names("inner", { alpha: {}, beta: { GwPriority: 2 }, inner: {} }), [
    "inner",
    "beta",
    "alpha",
  ]);
});

test("the host's network goes with no other", () => {
  assert.deepEqual(names("host", { host: {}, alpha: {} }), ["host"]);
});

test("the way out: priority, then name, and only where there is one", () => {
  const gateways = (endpoints: Record<string, Partial<EndpointSettings>>) => {
    const { ipv4, ipv6 } = chooseGateways(plan("alpha", endpoints));
    return [ipv4?.record.name, ipv6?.record.name];
  };
  assert.deepEqual(gateways({ beta: {}, alpha: {} }), ["alpha", "beta"]);
  assert.deepEqual(gateways({ beta: { GwPriority: 1 }, alpha: {} }), ["beta", "beta"]);
  assert.deepEqual(gateways({ inner: { GwPriority: 9 }, alpha: { GwPriority: -1 } }), ["alpha", undefined]);
  assert.deepEqual(gateways({ inner: {} }), [undefined, undefined]);
});

test("ports are published where the way out is, by IPv6 where there is none by IPv4", () => {
  const only6 = network("only6", { ipv4: false, ipv6: true });
  const both = network("both", { ipv4: true, ipv6: true });
  const inner = network("inner", { ipv4: false, ipv6: false });
  const published = (...networks: Network[]) =>
    publishingNetwork(chooseGateways(networks.map((one) => ({ network: one, wishes: {} }))))?.record.name;
  assert.equal(published(only6), "only6");
  assert.equal(published(only6, both), "both");
  assert.equal(published(inner), undefined);
});

test("interfaces get the first free number, or the name asked for", () => {
  const held = (name: string, index: number) => ({ veth: "v", name, index });
  assert.deepEqual(nextLink([], {}), { name: "eth0", index: 16 });
  assert.deepEqual(nextLink([held("eth0", 16), held("eth2", 18)], {}), { name: "eth1", index: 17 });
  assert.deepEqual(nextLink([held("eth1", 16)], {}), { name: "eth2", index: 18 });
  const DriverOpts = { "com.docker.network.endpoint.ifname": "lan" };
  assert.deepEqual(nextLink([], { DriverOpts }), { name: "lan", index: 16 });
});

test("what a container is called, each name once", () => {
  const request = { name: "web", containerId: "0123456789abcdef", hostname: "0123456789ab" };
  assert.deepEqual(dnsNames(request, { Aliases: ["www", "web"] }), ["web", "www", "0123456789ab"]);
  assert.deepEqual(dnsNames({ ...request, hostname: "box" }, {}), ["web", "0123456789ab", "box"]);
});
