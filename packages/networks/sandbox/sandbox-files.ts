/** The contents of the files that are bound over /etc of a container: who it is, whom it knows, whom it asks. */
import type { EndpointSettings } from "#api-types/network.ts";
import { hostsFile, hostsFileOfHost } from "#networks/hosts-file.ts";
import type { Network } from "#networks/network-table.ts";
import type { NetworkOptions, SandboxRequest } from "#networks/network-types.ts";
import { type ResolverRequest, resolvConf } from "#networks/resolv-conf.ts";
import { readOr } from "#networks/resolver-choice.ts";

export interface FilesRequest {
  request: SandboxRequest;
  ownNamespace: boolean;
  endpoints: Readonly<Record<string, EndpointSettings>>;
  resolver: ResolverRequest;
  /** Does it ask our name server? */
  embedded: boolean;
  hostGateways: readonly string[];
}

export function sandboxFiles(parts: FilesRequest): { hosts: string; resolvConf: string } {
  const { request, ownNamespace, hostGateways } = parts;
  const addresses = Object.values(parts.endpoints).flatMap(addressesOf);
  return {
    hosts: ownNamespace
      ? hostsFile({ ...request, addresses, hostGateways })
      : hostsFileOfHost(readOr("/etc/hosts", "127.0.0.1\tlocalhost\n"), { ...request, hostGateways }),
    resolvConf: resolvConf({ ...parts.resolver, embedded: parts.embedded }),
  };
}

/** What "host-gateway" stands for: the daemon's option, else the default bridge's own addresses. */
export function hostGateways(
  { hostGatewayIps }: Pick<NetworkOptions, "hostGatewayIps">,
  bridge: Network | undefined,
): string[] {
  if (hostGatewayIps.length > 0) return hostGatewayIps;
  const { gateway, hasIpv6 = false } = bridge?.driver ?? {};
  const gateway6 = hasIpv6 ? bridge?.record.config.ipv6?.gateway : undefined;
  return [gateway, gateway6].filter((address) => address !== undefined);
}

export function addressesOf(endpoint: EndpointSettings | undefined): string[] {
  return [endpoint?.IPAddress ?? "", endpoint?.GlobalIPv6Address ?? ""].filter((address) => address !== "");
}
