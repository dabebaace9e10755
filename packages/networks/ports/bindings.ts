/**
 * Where published ports appear on the host, and how what arrives there gets to the container. Pure.
 *
 * Two ways: address translation, which keeps source addresses and costs no process, wherever one family meets itself;
 * and the port proxy for the rest (docs/decisions/0010-one-port-proxy.md). In routed networks there is a third: the
 * container's own address, with no port of the host at all.
 */
import { type GatewayMode, isUnspecified, type PortRule } from "#networks/firewall/desired-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";
import type { Protocol, WantedPort } from "#networks/ports/port-spec.ts";

/** What decides about the ports of one endpoint. */
export interface PublishingSide {
  /** The endpoint's addresses; "" for none. */
  containerIp: string;
  containerIp6: string;
  modes: Record<Family, GatewayMode>;
  /** Where ports go that name no address; "0.0.0.0" means IPv6, too. */
  defaultIp: string;
  /** May the port proxy be used? */
  proxy: boolean;
  /** Does the firewall translate addresses of this family? */
  translates: (family: Family) => boolean;
  /** Has the host IPv6? Then ports that name no address are published there, too. */
  hostHasIpv6: () => boolean;
}

/** One container port at addresses of the host that share its number. */
export interface Binding {
  protocol: Protocol;
  containerPort: number;
  /** Candidates; undefined for any free one. */
  hostPorts: { first: number; last: number } | undefined;
  hostIps: string[];
  /** Of routed families: nothing of the host's is taken. */
  routedIps: string[];
}

/** Wanted ports that have no way to the container (no address of that family, no proxy) are left out, as Docker does. */
export function planBindings(wanted: readonly WantedPort[], side: PublishingSide): Binding[] {
  return wanted.flatMap(({ protocol, containerPort, hostIp, hostPorts }) => {
    const binding: Binding = { protocol, containerPort, hostPorts, hostIps: [], routedIps: [] };
    for (const family of [4, 6] as const) {
      const address = hostAddressOf(family, hostIp, side);
      if (address === undefined || !hasWay(family, protocol, side)) continue;
      if (addressIn(family, side) !== "" && side.modes[family] === "routed") {
        binding.routedIps.push(unspecified[family]);
      } else binding.hostIps.push(address);
    }
    return binding.hostIps.length + binding.routedIps.length === 0 ? [] : [binding];
  });
}

const unspecified: Record<Family, string> = { 4: "0.0.0.0", 6: "::" };

function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

function addressIn(family: Family, side: PublishingSide): string {
  return family === 4 ? side.containerIp : side.containerIp6;
}

/** The address of this family to publish at; undefined for none. */
function hostAddressOf(family: Family, chosen: string, side: PublishingSide): string | undefined {
  const address = chosen || side.defaultIp;
  if (familyOf(address) === family) return address;
  const everywhere = chosen === "" && side.defaultIp === unspecified[4];
  return everywhere && side.hostHasIpv6() ? unspecified[family] : undefined;
}

function hasWay(family: Family, protocol: Protocol, side: PublishingSide): boolean {
  if (addressIn(family, side) !== "") return true;
  return family === 6 && side.containerIp !== "" && side.proxy && protocol !== "sctp";
}

/** The rule that translates what comes for a published port; undefined where translation cannot serve it. */
export function ruleOf(port: PublishedPort, side: PublishingSide): PortRule | undefined {
  const family = familyOf(port.hostIp);
  const containerIp = addressIn(family, side);
  // The kernel has no route_localnet for IPv6.
  if (containerIp === "" || port.hostIp === "::1") return undefined;
  const { protocol, hostIp, containerPort } = port;
  return { protocol, hostIp, hostPort: port.hostPort || containerPort, containerIp, containerPort };
}

/** The container's address for the port proxy; undefined where nothing of the port passes through it. */
export function proxyTarget(
  port: Pick<PublishedPort, "protocol" | "hostIp">,
  side: PublishingSide,
): string | undefined {
  if (!side.proxy || port.protocol === "sctp") return undefined;
  const family = familyOf(port.hostIp);
  const own = addressIn(family, side);
  if (own === "") return side.containerIp || undefined;
  if (!side.translates(family)) return own;
  // What is left of it when translation has had its part: from the host itself, to ::1.
  return family === 6 && (port.hostIp === "::1" || isUnspecified(port.hostIp)) ? own : undefined;
}
