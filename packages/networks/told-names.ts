/** What the name server is told of a container: from what it holds. Pure. */
import type { ContainerNames, JoinedNetwork } from "#networks/dns/container-names.ts";
import { isUserDefined } from "#networks/endpoint-plan.ts";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import { embeddedServer } from "#networks/resolv-conf.ts";

/** Undefined for a container that never was on a network of a user's: its questions are none of the server's business. */
export function toldNames(
  held: HeldSandbox,
  networkOf: (name: string) => Network | undefined,
): ContainerNames | undefined {
  const networks = Object.keys(held.endpoints).flatMap((name) => networkOf(name) ?? []);
  if (!networks.some(isUserDefined) && !held.resolver.embedded) return undefined;
  const joined = networks.filter(isUserDefined).map(({ record }): JoinedNetwork => {
    const endpoint = held.endpoints[record.name];
    const links = (endpoint?.Links ?? []).map((link) => {
      const [target = "", alias = target] = link.split(":");
      return [alias, target] as const;
    });
    return {
      networkId: record.id,
      networkName: record.name,
      names: endpoint?.DNSNames ?? [],
      reverseName: `${held.name}.${record.name}`,
      v4: endpoint?.IPAddress ?? "",
      v6: endpoint?.GlobalIPv6Address ?? "",
      links: Object.fromEntries(links),
    };
  });
  const { servers, hostServers, keepsShortNames } = held.resolver;
  return {
    containerId: held.containerId,
    joined,
    // A question to this very server would come back to it.
    upstream: servers
      .filter((address) => address !== embeddedServer)
      .map((address) => ({ address, fromHost: hostServers && address.startsWith("127.") })),
    isInternal: networks.every(({ record }) => record.config.internal),
    keepsShortNames,
  };
}
