/**
 * Which networks a container joins, in what order, and which of them leads out. Pure but for looking networks up.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { interfaceNameOption } from "#networks/drivers/bridge-endpoint.ts";
import { firstIndex } from "#networks/drivers/sandbox-program.ts";
import type { HeldLink } from "#networks/network-record.ts";
import { type Network, type NetworkTable, predefined } from "#networks/network-table.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import type { GivenAddresses } from "#networks/plugins/plugin-addresses.ts";

export interface PlannedEndpoint {
  network: Network;
  wishes: Partial<EndpointSettings>;
  /** What a plugin has given it already, under the id it will have. */
  reserved?: { endpointId: string; addresses: GivenAddresses };
}

/**
 * The networks of a request: those it has settings for, else the one of its mode. The mode's own is first, and so has
 * eth0; the others follow in the order in which they would lead out.
 */
export function planEndpoints(request: SandboxRequest, table: NetworkTable): PlannedEndpoint[] {
  if (request.detached) return [];
  const names = Object.keys(request.endpoints);
  const planned = (names.length > 0 ? names : [request.mode]).map((name) => ({
    network: table.ofMode(name),
    wishes: request.endpoints[name] ?? {},
  }));
  // The host's namespace, and one with nothing in it, go together with no other network.
  const alone = planned.find(
    ({ network: { record } }) => record.driver === "host" || record.driver === "null",
  );
  if (alone !== undefined) return [alone];
  const { mode } = request;
  const isPrimary = ({ record: { name, id } }: Network): boolean =>
    name === mode || (mode !== "" && id.startsWith(mode)) || (name === "bridge" && mode === "default");
  const rank = ({ network }: PlannedEndpoint): number => (isPrimary(network) ? 0 : 1);
  return planned.sort((a, b) => rank(a) - rank(b) || leadsBefore(a, b));
}

/** Docker's rule: the higher priority, then the name. */
function leadsBefore(a: PlannedEndpoint, b: PlannedEndpoint): number {
  const byPriority = (b.wishes.GwPriority ?? 0) - (a.wishes.GwPriority ?? 0);
  if (byPriority !== 0) return byPriority;
  const [first, second] = [a.network.record.name, b.network.record.name];
  return first < second ? -1 : first > second ? 1 : 0;
}

export interface Gateways {
  ipv4: Network | undefined;
  ipv6: Network | undefined;
}

/** The network that gives the default route, of each family. */
export function chooseGateways(endpoints: readonly PlannedEndpoint[]): Gateways {
  const ordered = [...endpoints].sort(leadsBefore).map(({ network }) => network);
  return {
    ipv4: ordered.find(({ driver }) => driver.routes.ipv4),
    ipv6: ordered.find(({ driver }) => driver.routes.ipv6),
  };
}

/** The network that ports are published on: the one that leads out, by IPv6 where none does by IPv4. */
export function publishingNetwork({ ipv4, ipv6 }: Gateways): Network | undefined {
  return ipv4 ?? ipv6;
}

/** The interface of the next endpoint in a namespace that has these. */
export function nextLink(
  present: readonly HeldLink[],
  wishes: Partial<EndpointSettings>,
): { name: string; index: number } {
  const taken = new Set(present.map(({ index }) => index));
  const names = new Set(present.map(({ name }) => name));
  let number = 0;
  while (taken.has(firstIndex + number) || names.has(`eth${number}`)) number++;
  const wanted = wishes.DriverOpts?.[interfaceNameOption];
  return { name: wanted || `eth${number}`, index: firstIndex + number };
}

/** Did a user make this network? Names resolve on these only. */
export function isUserDefined({ record }: Network): boolean {
  return !predefined.has(record.name);
}

/** Everything a container is called on a user's network: name, aliases, short id, host name; each once. */
export function dnsNames(
  request: Pick<SandboxRequest, "name" | "containerId" | "hostname">,
  wishes: Partial<EndpointSettings>,
): string[] {
  const names = [request.name, ...(wishes.Aliases ?? []), request.containerId.slice(0, 12), request.hostname];
  return [...new Set(names.filter((name) => name !== ""))];
}
