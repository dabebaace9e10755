/**
 * The shapes `docker inspect` and `docker network inspect` show. Pure.
 */
import type { EndpointSettings, IpamConfig, NetworkContainer, NetworkResource } from "#api-types/network.ts";
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

export function networkResource(
  record: NetworkRecord,
  held: Iterable<HeldSandbox>,
  options: NetworkOptions,
): NetworkResource {
  const { config, driver } = record;
  const isDefault = predefined.has(record.name);
  return {
    Name: record.name,
    Id: record.id,
    Created: record.created,
    Scope: "local",
    Driver: driver,
    EnableIPv4: true,
    EnableIPv6: config.ipv6 !== undefined,
    IPAM: {
      Driver: "default",
      Options: config.ipamOptions ?? null,
      Config: config.subnet === undefined ? null : poolsOf(config),
    },
    Internal: config.internal ?? false,
    Attachable: config.attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: containersOf(record, held),
    Options: isDefault ? (driver === "bridge" ? bridgeOptions(options) : {}) : (config.options ?? {}),
    Labels: config.labels ?? {},
  };
}

function poolsOf(config: NetworkRecord["config"]): IpamConfig[] {
  const shown = (pool: NonNullable<typeof config.ipv6>): IpamConfig => ({
    Subnet: pool.subnet,
    ...(pool.range !== undefined && { IPRange: pool.range }),
    Gateway: pool.gateway,
    ...(pool.reserved !== undefined && { AuxiliaryAddresses: pool.reserved }),
  });
  const { subnet = "", gateway = "", range, reserved, ipv6 } = config;
  const ipv4 = {
    subnet,
    gateway,
    ...(range !== undefined && { range }),
    ...(reserved !== undefined && { reserved }),
  };
  return [shown(ipv4), ...(ipv6 === undefined ? [] : [shown(ipv6)])];
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
