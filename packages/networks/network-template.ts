/**
 * Configuration-only networks: what `--config-only` writes down, and requests completed by `--config-from`. Such a network
 * has no driver and no addresses; it is in use while others are made of it. Pure; the texts are Docker's.
 */
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { refuse } from "#networks/network-checks.ts";
import type { NetworkConfig, NetworkRecord } from "#networks/network-record.ts";

/** Throws "forbidden" for what says how a network is run, and not what it is like. */
export function templateOf(request: NetworkCreateRequest): NetworkConfig {
  const name = request.Name ?? "";
  if (request.Ingress || request.Internal || request.Attachable || request.Scope) {
    throw refuse(
      "forbidden",
      "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
      name,
    );
  }
  if (request.ConfigFrom?.Network) {
    throw refuse("forbidden", "a configuration network cannot depend on another configuration network", name);
  }
  const { IPAM, EnableIPv4, EnableIPv6 } = request;
  return {
    labels: request.Labels ?? {},
    options: request.Options ?? {},
    ipamOptions: IPAM?.Options ?? null,
    ...(IPAM?.Driver && { ipamDriver: IPAM.Driver }),
    template: {
      ipam: IPAM?.Config ?? [],
      enableIpv4: EnableIPv4 ?? true,
      enableIpv6: EnableIPv6 ?? false,
    },
  };
}

/** The request with what the network it names has for it; as it is without one. */
export function fromTemplate(
  request: NetworkCreateRequest,
  networks: readonly NetworkRecord[],
): NetworkCreateRequest {
  const from = request.ConfigFrom?.Network;
  if (!from) return request;
  const name = request.Name ?? "";
  if (Object.keys(request.Options ?? {}).length > 0) {
    throw refuse(
      "forbidden",
      "network driver options are not supported if the network depends on a configuration network",
      name,
    );
  }
  if (hasOwnConfiguration(request)) {
    throw refuse(
      "forbidden",
      "user specified configurations are not supported if the network depends on a configuration network",
      name,
    );
  }
  const config = networks.find((network) => network.name === from)?.config;
  if (config?.template === undefined) {
    throw refuse("not-found", `configuration network ${JSON.stringify(from)} does not exist`, name);
  }
  const { template, labels = {}, options = {}, ipamOptions, ipamDriver } = config;
  return {
    ...request,
    EnableIPv4: template.enableIpv4,
    EnableIPv6: template.enableIpv6,
    Labels: labels,
    Options: options,
    IPAM: {
      Config: [...template.ipam],
      Options: ipamOptions ?? null,
      ...(ipamDriver !== undefined && { Driver: ipamDriver }),
    },
  };
}

function hasOwnConfiguration({ IPAM, EnableIPv6, Labels }: NetworkCreateRequest): boolean {
  const { Driver = "default", Config, Options: ipamOptions } = IPAM ?? {};
  return (
    (Driver !== "default" && Driver !== "") ||
    (EnableIPv6 ?? false) ||
    [Config, Labels, ipamOptions].some((part) => Object.keys(part ?? {}).length > 0)
  );
}

/** Names of the networks that are made of one. */
export function madeFrom(name: string, networks: readonly NetworkRecord[]): string[] {
  return networks.filter(({ config }) => config.configFrom === name).map((network) => network.name);
}
