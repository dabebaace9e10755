/**
 * What the firewall should be, as plain data: for every bridge its behaviour in each family, the ports its containers
 * publish, and the pairs of containers that may talk where others may not. Both back ends render from this; nothing
 * here knows how a rule is written.
 */
import { type Family, formatAddress, type Prefix, parseAddress } from "#networks/ipam/prefix.ts";

export type Protocol = "tcp" | "udp" | "sctp";

/**
 * How a bridge meets the world: `nat` by the host's address and published ports alone; `nat-unprotected` the same, with
 * every port of its containers open to who can route there; `routed` by the containers' own addresses, of which the
 * published ports are open. (An isolated bridge is an internal one.)
 */
export type GatewayMode = "nat" | "nat-unprotected" | "routed";

/** How a bridge behaves in one family of addresses. */
export interface BridgeRules {
  bridge: string;
  subnet: Prefix;
  /** Containers leave with the host's address. */
  masquerade: boolean;
  /** May containers of the bridge talk to one another? */
  icc: boolean;
  /** Nothing passes in or out. */
  internal: boolean;
  /** "nat" where it is not said. */
  gatewayMode?: GatewayMode;
}

/** One published port: what arrives at the host for one goes to the other. Both addresses are of one family. */
export interface PortRule {
  protocol: Protocol;
  /** "0.0.0.0" or "::" for all addresses of the host. */
  hostIp: string;
  hostPort: number;
  containerIp: string;
  containerPort: number;
}

/** One container may open connections to a port of another on the same bridge, whatever `icc` says. */
export interface LinkRule {
  from: string;
  to: string;
  protocol: Protocol;
  port: number;
  /** The endpoint that has `to`: with its end, this ends. */
  peer: string;
}

/** A bridge as it should be. Never changed once it is made. */
export interface BridgeState {
  readonly bridge: string;
  readonly rules: Readonly<Partial<Record<Family, BridgeRules>>>;
  readonly ports: readonly PortRule[];
  readonly links: readonly LinkRule[];
}

export const families: readonly Family[] = [4, 6];

/** The family a port's rule belongs to. */
export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

export function portsOf(state: BridgeState, family: Family): PortRule[] {
  return state.ports.filter((port) => familyOf(port.containerIp) === family);
}

export function linksOf(state: BridgeState, family: Family): LinkRule[] {
  return state.links.filter((link) => familyOf(link.to) === family);
}

/** Are addresses of this bridge translated at all? */
export function translates({ internal, gatewayMode }: BridgeRules): boolean {
  return !internal && gatewayMode !== "routed";
}

/** "0.0.0.0", "::", and "" for both. */
export function isUnspecified(hostIp: string): boolean {
  const address = parseAddress(hostIp);
  return address === undefined || ["0.0.0.0", "::"].includes(formatAddress(address));
}

/** What never leaves a host. */
export function loopbackOf(family: Family): string {
  return family === 4 ? "127.0.0.0/8" : "::1/128";
}
