/**
 * The shapes `docker inspect` and `docker network inspect` show. Pure.
 */
import type { EndpointSettings, IpamConfig, NetworkContainer, NetworkResource } from "#api-types/network.ts";
import { formatMac } from "#kernel/netlink/link-messages.ts";
import { gatewayText, type Pool, recordedPools } from "#networks/ipam/network-pools.ts";
import { type Address, formatAddress } from "#networks/ipam/prefix.ts";
import type { HeldSandbox, NetworkRecord } from "#networks/network-record.ts";
import { predefined } from "#networks/network-table.ts";
import type { NetworkOptions } from "#networks/network-types.ts";

/** An endpoint that has an id and nothing else: on "host" and "none". */
export function bareEndpoint(networkId: string, endpointId: string): EndpointSettings {
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    MacAddress: "",
    DriverOpts: null,
    GwPriority: 0,
    NetworkID: networkId,
    EndpointID: endpointId,
    Gateway: "",
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}

interface Taken {
  address: Address;
  pool: Pool;
}

/** An endpoint with addresses; `routes`: the families whose gateway leads anywhere. */
export function addressedEndpoint(
  bare: EndpointSettings,
  has: {
    mac: Uint8Array | undefined;
    ipv4: Taken | undefined;
    ipv6: Taken | undefined;
    routes: { ipv4: boolean; ipv6: boolean };
  },
): EndpointSettings {
  const { mac, ipv4, ipv6, routes } = has;
  return {
    ...bare,
    MacAddress: mac === undefined ? "" : formatMac(mac),
    ...(ipv4 !== undefined && {
      Gateway: routes.ipv4 ? gatewayText(ipv4.pool) : "",
      IPAddress: formatAddress(ipv4.address),
      IPPrefixLen: ipv4.pool.subnet.length,
    }),
    ...(ipv6 !== undefined && {
      IPv6Gateway: routes.ipv6 ? gatewayText(ipv6.pool) : "",
      GlobalIPv6Address: formatAddress(ipv6.address),
      GlobalIPv6PrefixLen: ipv6.pool.subnet.length,
    }),
  };
}

export function networkResource(
  record: NetworkRecord,
  held: Iterable<HeldSandbox>,
  options: NetworkOptions,
): NetworkResource {
  const { config, driver } = record;
  const { template } = config;
  const isDefault = predefined.has(record.name);
  const pools = template === undefined ? shownPools(config) : [...template.ipam];
  const noPools = driver === "host" || (driver === "null" && template === undefined);
  return {
    Name: record.name,
    Id: record.id,
    Created: record.created,
    Scope: config.scope ?? "local",
    Driver: driver,
    EnableIPv4: template?.enableIpv4 ?? (noPools || !pools.every(({ Subnet }) => Subnet?.includes(":"))),
    EnableIPv6: template?.enableIpv6 ?? config.ipv6 !== undefined,
    IPAM: {
      Driver: config.ipamDriver ?? "default",
      Options: config.ipamOptions ?? null,
      Config: noPools ? null : pools,
    },
    Internal: config.internal ?? false,
    Attachable: config.attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: config.configFrom ?? "" },
    ConfigOnly: template !== undefined,
    Containers: containersOf(record, held),
    Options: isDefault ? (driver === "bridge" ? bridgeOptions(options) : {}) : (config.options ?? {}),
    Labels: config.labels ?? {},
  };
}

function shownPools(config: NetworkRecord["config"]): IpamConfig[] {
  return recordedPools(config).map((pool) => ({
    Subnet: pool.subnet,
    ...(pool.range !== undefined && { IPRange: pool.range }),
    ...(pool.gateway !== undefined && { Gateway: pool.gateway }),
    ...(pool.reserved !== undefined && { AuxiliaryAddresses: pool.reserved }),
  }));
}

function containersOf(record: NetworkRecord, held: Iterable<HeldSandbox>): Record<string, NetworkContainer> {
  const containers: Record<string, NetworkContainer> = {};
  for (const sandbox of held) {
    const endpoint = sandbox.endpoints[record.name];
    if (endpoint === undefined) continue;
    containers[sandbox.containerId] = {
      Name: sandbox.name,
      EndpointID: endpoint.EndpointID,
      MacAddress: endpoint.MacAddress,
      IPv4Address: withLength(endpoint.IPAddress, endpoint.IPPrefixLen),
      IPv6Address: withLength(endpoint.GlobalIPv6Address, endpoint.GlobalIPv6PrefixLen),
    };
  }
  return containers;
}

function withLength(address: string, length: number): string {
  return address === "" ? "" : `${address}/${length}`;
}

function bridgeOptions(options: NetworkOptions): Record<string, string> {
  return {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": String(options.icc),
    "com.docker.network.bridge.enable_ip_masquerade": String(options.ipMasq),
    "com.docker.network.bridge.host_binding_ipv4": options.ip,
    "com.docker.network.bridge.name": options.bridge,
    "com.docker.network.driver.mtu": String(options.mtu),
  };
}
