/**
 * The netlink messages that join a container's new namespace to its network, written in full beforehand: nothing is
 * asked back. Pure.
 */
import { randomBytes } from "node:crypto";
import { BerthError } from "#errors/errors.ts";
import { addAddress, addRoute, type RouteOptions, removeRoute } from "#kernel/netlink/address-messages.ts";
import { changeLink, createVeth, parseMac, setBridgePort } from "#kernel/netlink/link-messages.ts";
import type { Pool } from "#networks/ipam/network-pools.ts";
import {
  type Address,
  addressBytes,
  broadcastOf,
  type Family,
  type Prefix,
  prefixOf,
  width,
} from "#networks/ipam/prefix.ts";
import type { NetlinkRequest, SandboxProgram } from "#runtime/launch-types.ts";

/** Every namespace is born with its loopback under this index. */
const loopbackIndex = 1;
/** Index of eth0 inside; beyond the tunnel devices some kernels put into every namespace. */
export const firstIndex = 16;

/** Nothing at all: the namespace is somebody else's, or the network puts nothing into it. */
export function emptyProgram(): SandboxProgram {
  return { host: [], container: [], sysctls: {} };
}

/**
 * The program of a new namespace: loopback, then what each endpoint brings. IPv6 is off but for loopback unless an
 * endpoint has it; `ipv6` tells whether this kernel has it at all.
 */
export function sandboxProgram(
  endpoints: readonly SandboxProgram[],
  ipv6: { kernel: boolean; wanted: boolean },
): SandboxProgram {
  // "all" also covers what is made later; loopback keeps its ::1.
  const sysctls: Record<string, string> =
    ipv6.kernel && endpoints.some((endpoint) => endpoint.host.length > 0)
      ? {
          "net/ipv6/conf/all/disable_ipv6": ipv6.wanted ? "0" : "1",
          "net/ipv6/conf/lo/disable_ipv6": "0",
        }
      : {};
  return {
    host: endpoints.flatMap((endpoint) => endpoint.host),
    container: [loopbackUp(), ...endpoints.flatMap((endpoint) => endpoint.container)],
    sysctls: Object.assign(sysctls, ...endpoints.map((endpoint) => endpoint.sysctls)),
  };
}

/** An address of an endpoint with its network. */
export interface JoinAddress {
  address: Address;
  subnet: Prefix;
}

/** What every interface inside gets, whatever its other end is. */
export interface LinkJoin {
  /** The interface inside. */
  link: { name: string; index: number };
  ipv4: JoinAddress | undefined;
  ipv6: JoinAddress | undefined;
  /** Addresses on the link only, as the user gave them. */
  linkLocal: readonly Address[];
  /** Default routes, one a family at most. */
  gateways: readonly Address[];
  /** Families whose default route is the link itself: whoever is beyond it sees to the rest. */
  onLink?: readonly Family[];
  /** Another network of this namespace has IPv6. */
  namespaceHasIpv6: boolean;
  /** Settings of the interface the user asked for. */
  sysctls: Record<string, string>;
}

export interface BridgeJoin extends LinkJoin {
  bridge: { name: string; index: number };
  veth: { name: string; index: number };
  mtu: number;
  mac: Uint8Array;
  /** The container publishes ports: it may reach itself through the bridge. */
  hairpin: boolean;
  /** The bridge must not pass frames between containers. */
  isolated: boolean;
}

/** The part of one endpoint. */
export function bridgeProgram(join: BridgeJoin): SandboxProgram {
  const { link } = join;
  const veth = createVeth({
    name: join.veth.name,
    index: join.veth.index,
    master: join.bridge.index,
    mtu: join.mtu,
    peer: { name: link.name, index: link.index, mac: join.mac },
  });
  const host: NetlinkRequest[] = [
    {
      why: `create veth pair ${join.veth.name} - ${link.name} on ${join.bridge.name}`,
      bytes: veth.bytes,
      pidAt: [veth.pidAt],
    },
  ];
  if (join.hairpin || join.isolated) {
    host.push(
      bridgePort(join.veth.name, {
        ...(join.hairpin && { hairpin: true }),
        ...(join.isolated && { isolated: true }),
      }),
    );
  }
  return { host, ...linkProgram(join) };
}

/** The part inside: addresses, up, the way out. */
export function linkProgram(join: LinkJoin): Omit<SandboxProgram, "host"> {
  const { link } = join;
  const container: NetlinkRequest[] = [
    ...(join.ipv4 === undefined ? [] : [addressRequest(link, join.ipv4)]),
    ...(join.ipv6 === undefined ? [] : [addressRequest(link, join.ipv6)]),
    ...join.linkLocal.map((address) =>
      addressRequest(link, { address, subnet: prefixOf(address, address.family === 4 ? 16 : 64) }),
    ),
    { why: `bring ${link.name} up`, bytes: changeLink(link.index, { up: true }), pidAt: [] },
    ...join.gateways.map((gateway) => defaultRoute(link, gateway)),
    ...(join.onLink ?? []).map((family) => defaultRoute(link, family)),
  ];
  const ipv6 = `net/ipv6/conf/${link.name}`;
  const own: Record<string, string> =
    join.ipv6 === undefined
      ? join.namespaceHasIpv6
        ? { [`${ipv6}/disable_ipv6`]: "1" }
        : {}
      : { [`${ipv6}/disable_ipv6`]: "0", [`${ipv6}/accept_dad`]: "0", [`${ipv6}/accept_ra`]: "0" };
  return { container, sysctls: { ...own, ...eagerNeighbours(link.name), ...join.sysctls } };
}

/** Changes what a bridge does at the port of a veth. */
export function bridgePort(veth: string, options: { hairpin?: boolean; isolated?: boolean }): NetlinkRequest {
  return {
    why: `set bridge port options of ${veth}`,
    bytes: setBridgePort(veth, options),
    pidAt: [],
  };
}

function addressRequest(link: { name: string; index: number }, join: JoinAddress): NetlinkRequest {
  return {
    why: `set the address of ${link.name}`,
    bytes: addAddress({
      link: link.index,
      address: addressBytes(join.address),
      prefixLength: join.subnet.length,
      ...(join.address.family === 4 && { broadcast: addressBytes(broadcastOf(join.subnet)) }),
    }),
    pidAt: [],
  };
}

/** The way out: a gateway, or for a link that needs none its family. */
export type WayOut = Address | Family;

export function defaultRoute(link: { name: string; index: number }, way: WayOut): NetlinkRequest {
  return {
    why: `add the default route through ${link.name}`,
    bytes: addRoute({ link: link.index, ...routeBy(way) }),
    pidAt: [],
  };
}

/** ESRCH: the route went with its link. */
const noSuchRoute = 3;

export function noDefaultRoute(link: { name: string; index: number }, way: WayOut): NetlinkRequest {
  return {
    why: `remove the default route through ${link.name}`,
    bytes: removeRoute({ link: link.index, ...routeBy(way) }),
    pidAt: [],
    ignore: noSuchRoute,
  };
}

function routeBy(way: WayOut): Pick<RouteOptions, "gateway" | "destination"> {
  if (typeof way === "object") return { gateway: addressBytes(way) };
  return { destination: { address: new Uint8Array(width(way) / 8), prefixLength: 0 } };
}

/**
 * Settings that make an interface ask for a neighbour's MAC every 25 ms, for three seconds, where the kernel would ask
 * three times in three seconds. The kernel notices that a new link is up some milliseconds after the container could
 * already send; a question lost in that gap would cost the container's first connection a whole second.
 */
export function eagerNeighbours(name: string): Record<string, string> {
  const directory = `net/ipv4/neigh/${name}`;
  return {
    [`${directory}/retrans_time_ms`]: "25",
    [`${directory}/mcast_solicit`]: "120",
    [`${directory}/ucast_solicit`]: "120",
  };
}

function loopbackUp(): NetlinkRequest {
  return { why: "bring lo up", bytes: changeLink(loopbackIndex, { up: true }), pidAt: [] };
}

/** Of an endpoint's taken address, where it has one of that family. */
export function joinAddress(taken: { address: Address; pool: Pool } | undefined): JoinAddress | undefined {
  return taken && { address: taken.address, subnet: taken.pool.subnet };
}

/** The MAC address asked for, or one made from the endpoint's address. Throws "invalid" for text that is none. */
export function macOf(wanted: string, taken: { address: Address } | undefined): Uint8Array {
  if (wanted === "") return taken === undefined ? randomMac() : macFromAddress(taken.address);
  const mac = parseMac(wanted);
  if (mac !== undefined) return mac;
  throw new BerthError("invalid", `invalid MAC address: ${wanted}`, {
    operation: "create endpoint",
    object: wanted,
  });
}

/** Locally administered: several hosts on one wire must not have the same. */
export function randomMac(): Uint8Array {
  return Uint8Array.of(0x02, 0x42, ...randomBytes(4));
}

/** 02:42 and the (last four bytes of the) address, as Docker derives it: the same address always has the same MAC. */
function macFromAddress(address: Address): Uint8Array {
  return Uint8Array.of(0x02, 0x42, ...addressBytes(address).slice(-4));
}
