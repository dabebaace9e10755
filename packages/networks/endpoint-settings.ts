/**
 * The shapes `docker inspect` and `docker network inspect` show. Pure.
 */
import type { EndpointSettings, NetworkContainer, NetworkResource } from "#api-types/network.ts";
import type { HeldSandbox, NetworkRecord } from "#networks/network-record.ts";
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
  const { config } = record;
  return {
    Name: record.name,
    Id: record.id,
    Created: record.created,
    Scope: "local",
    Driver: record.driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: {
      Driver: "default",
      Options: null,
      Config:
        config.subnet === undefined
          ? null
          : [
              {
                Subnet: config.subnet,
                ...(config.range !== undefined && { IPRange: config.range }),
                Gateway: config.gateway,
              },
            ],
    },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: "" },
    ConfigOnly: false,
    Containers: containersOf(record, held),
    Options: record.driver === "bridge" ? bridgeOptions(options) : {},
    Labels: {},
  };
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
      IPv4Address: endpoint.IPAddress === "" ? "" : `${endpoint.IPAddress}/${endpoint.IPPrefixLen}`,
      IPv6Address: "",
    };
  }
  return containers;
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
