/**
 * `--link` on the default bridge where its containers are kept apart (`icc=false`): the linking one may connect to what
 * the others expose, for as long as both run.
 */
import type { LinkRule, Protocol } from "#networks/firewall/desired-rules.ts";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import type { HeldSandboxes } from "#networks/sandbox/held-sandboxes.ts";

/** A container somebody links to. */
export interface LinkedPeer {
  containerId: string;
  /** "80/tcp" */
  exposedPorts: readonly string[];
}

/** Opens the ports of these and no others to a container; those that do not run are left out. */
export async function permitPeers(
  network: Network,
  held: HeldSandbox,
  peers: readonly LinkedPeer[],
  sandboxes: HeldSandboxes,
): Promise<void> {
  const { name } = network.record;
  const own = held.endpoints[name];
  if (own === undefined) return;
  const links = peers.flatMap(({ containerId, exposedPorts }): LinkRule[] => {
    const other = sandboxes.get(containerId)?.endpoints[name];
    if (other === undefined) return [];
    const pairs = [
      { from: own.IPAddress, to: other.IPAddress },
      { from: own.GlobalIPv6Address, to: other.GlobalIPv6Address },
    ].filter(({ from, to }) => from !== "" && to !== "");
    return exposedPorts.flatMap((key) => {
      const [port, protocol = "tcp"] = key.split("/");
      const rule = { protocol: protocol as Protocol, port: Number(port), peer: other.EndpointID };
      return pairs.map((pair) => ({ ...pair, ...rule }));
    });
  });
  if (links.length === 0 && held.permits === undefined) return;
  held.permits = links;
  sandboxes.save(held);
  await network.driver.permit?.(own.EndpointID, links);
}

/** After a restart of the daemon, before the network starts: what was open is so from its first rule on. */
export async function restorePermits(network: Network, sandboxes: HeldSandboxes): Promise<void> {
  const present = sandboxes.endpointIds();
  for (const held of sandboxes.all()) {
    const own = held.endpoints[network.record.name];
    const links = held.permits?.filter(({ peer }) => present.has(peer)) ?? [];
    if (own !== undefined && links.length > 0) await network.driver.permit?.(own.EndpointID, links);
  }
}
