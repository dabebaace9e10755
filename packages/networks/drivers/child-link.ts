/**
 * The macvlan and ipvlan drivers: an endpoint is a link on a link of the host's, born inside the container's namespace.
 * The wire beyond the parent is the network; neither the host nor its firewall takes part, so nothing is published.
 *
 * Owns the parent only where it made it. The parent's own addresses, and who is on the wire, are the host's business.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { createChildLink } from "#kernel/netlink/child-link-messages.ts";
import { formatMac, parseMac } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { endpointOptions } from "#networks/drivers/bridge-endpoint.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import type { ChildLinkSettings } from "#networks/drivers/child-link-settings.ts";
import type { DriverEndpoint, EndpointRequest, NetworkDriver } from "#networks/drivers/driver-types.ts";
import type { DyingLinks } from "#networks/drivers/dying-links.ts";
import { canHave, ensureParent, removeParent } from "#networks/drivers/parent-link.ts";
import { joinAddress, linkProgram, macOf } from "#networks/drivers/sandbox-program.ts";
import { addressedEndpoint, bareEndpoint } from "#networks/endpoint-settings.ts";
import type { AddressLeases } from "#networks/ipam/address-leases.ts";
import { type Pool, poolsOf, takeAddress, wish } from "#networks/ipam/network-pools.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

/** Milliseconds between looks whether a link is gone. */
const pause = 20;

/** What such a network needs of the others. */
export interface ChildLinkParts {
  leases: AddressLeases;
  dying: DyingLinks;
  /** Does another network lie on this link? */
  shared: (parent: string) => boolean;
}

export class ChildLinkNetwork implements NetworkDriver {
  readonly ownNamespace = true;
  readonly gateway = undefined;
  readonly #record: NetworkRecord;
  readonly #settings: ChildLinkSettings;
  readonly #parts: ChildLinkParts;
  readonly #ipv4: readonly Pool[];
  readonly #ipv6: readonly Pool[];

  /** By endpoint, of those that have come since the daemon started. */
  readonly #macs = new Map<string, string>();

  constructor(record: NetworkRecord, settings: ChildLinkSettings, parts: ChildLinkParts) {
    this.#record = record;
    this.#settings = settings;
    this.#parts = parts;
    this.#ipv4 = poolsOf(record.config, 4);
    this.#ipv6 = poolsOf(record.config, 6);
  }

  get hasIpv6(): boolean {
    return this.#ipv6.length > 0;
  }

  get routes(): { ipv4: boolean; ipv6: boolean } {
    return { ipv4: this.#leadsOut(this.#ipv4), ipv6: this.#leadsOut(this.#ipv6) };
  }

  /** Between networks (l3) the parent routes by itself; on a wire a gateway has to be told. */
  #leadsOut(pools: readonly Pool[]): boolean {
    if (this.#settings.internal || pools.length === 0) return false;
    return this.#routesByItself || pools.some(({ gateway }) => gateway !== undefined);
  }

  get #routesByItself(): boolean {
    const { child } = this.#settings;
    return child.kind === "ipvlan" && child.mode !== "l2";
  }

  async start(): Promise<void> {
    using netlink = new NetlinkSocket();
    const { parent, mtu } = this.#settings;
    const link = ensureParent(netlink, this.#settings);
    if (mtu === undefined || mtu <= link.mtu) return;
    throw new BerthError(
      "invalid",
      `the mtu of ${mtu} is larger than that of ${parent}, which is ${link.mtu}`,
      {
        operation: "create network",
        object: parent,
      },
    );
  }

  take(request: EndpointRequest): DriverEndpoint {
    const { endpointId, wishes, link, defaultRoute } = request;
    const { child, mtu } = this.#settings;
    if (child.kind === "ipvlan" && request.macAddress !== "") {
      throw new BerthError("invalid", "ipvlan interfaces do not support custom mac address assignment", {
        operation: "create endpoint",
        object: request.macAddress,
      });
    }
    if (child.mode === "passthru") this.#checkWhole();
    const parent = this.#parent();
    const own = endpointOptions(wishes, link.name);
    const { leases } = this.#parts;
    const wanted = wishes.IPAMConfig;
    const ipv4 = takeAddress(leases, this.#record, this.#ipv4, endpointId, wish(wanted?.IPv4Address));
    const ipv6 = takeAddress(leases, this.#record, this.#ipv6, endpointId, wish(wanted?.IPv6Address));
    const mac = child.kind === "ipvlan" ? undefined : this.#mac(request, parent.mac, ipv4 ?? ipv6);
    if (mac !== undefined) this.#macs.set(endpointId, formatMac(mac));
    const made = createChildLink({ parent: parent.index, child, link, mtu, mac });
    const ways = [
      ...(defaultRoute.ipv4 && ipv4 ? [{ family: 4 as const, gateway: ipv4.pool.gateway }] : []),
      ...(defaultRoute.ipv6 && ipv6 ? [{ family: 6 as const, gateway: ipv6.pool.gateway }] : []),
    ];
    const families: Family[] = [...(ipv4 ? [4 as const] : []), ...(ipv6 ? [6 as const] : [])];
    const byItself = this.#routesByItself && !this.#settings.internal;
    const routes = byItself ? { ipv4: false, ipv6: false } : this.routes;
    return {
      settings: addressedEndpoint(bareEndpoint(this.#record.id, endpointId), { mac, ipv4, ipv6, routes }),
      program: {
        host: [
          {
            why: `create the ${child.kind} link ${link.name} on ${parent.name}`,
            bytes: made.bytes,
            pidAt: [made.pidAt],
          },
        ],
        ...linkProgram({
          link,
          ipv4: joinAddress(ipv4),
          ipv6: joinAddress(ipv6),
          gateways: byItself ? [] : ways.flatMap(({ gateway }) => gateway ?? []),
          onLink: byItself ? ways.map(({ family }) => family) : [],
          namespaceHasIpv6: request.namespaceHasIpv6,
          linkLocal: own.linkLocal,
          sysctls: { ...announcing(link.name, ipv6 !== undefined), ...own.sysctls },
        }),
      },
      veth: "",
      ...(byItself && { onLink: families }),
    };
  }

  /** Asked for every time: links of the host's come and go. */
  #parent() {
    const { parent, child } = this.#settings;
    using netlink = new NetlinkSocket();
    const link = findLink(netlink, parent);
    if (link !== undefined) return link;
    throw new BerthError(
      "internal",
      `the requested parent interface ${parent} was not found on the Docker host`,
      {
        operation: "create endpoint",
        object: parent,
        hint: `network ${this.#record.name} is a ${child.kind} network on ${parent}: bring that link back, or make the network anew`,
      },
    );
  }

  #checkWhole(): void {
    if (!this.#parts.leases.isHeld(this.#record.id)) return;
    const { parent } = this.#settings;
    throw new BerthError("conflict", `${parent} is passed through (mode passthru) to another container`, {
      operation: "create endpoint",
      object: this.#record.name,
      hint: "only one container at a time has such a network; macvlan_mode=bridge has room for many",
    });
  }

  /** A link that is passed through as a whole keeps its address. */
  #mac(request: EndpointRequest, parent: string, taken: Parameters<typeof macOf>[1]): Uint8Array {
    const { child } = this.#settings;
    const own = child.mode === "passthru" && request.macAddress === "" ? parseMac(parent) : undefined;
    return own ?? macOf(request.macAddress, taken);
  }

  takePorts(): [] {
    return [];
  }

  async publish(): Promise<void> {}

  async withdraw(): Promise<void> {}

  resume(): void {}

  leave(endpointId: string): Promise<void> {
    this.#parts.leases.release(endpointId);
    this.#parts.dying.left(this.#macs.get(endpointId));
    this.#macs.delete(endpointId);
    return Promise.resolve();
  }

  /** Until a link is gone, the kernel lets nobody else on its parent have the address. */
  async clear(mac: string): Promise<void> {
    const bytes = parseMac(mac);
    const { child } = this.#settings;
    if (bytes === undefined) return;
    const link = { name: `mv${this.#record.id.slice(0, 12)}`, index: 0 };
    while (this.#parts.dying.mayHave(mac)) {
      if (await canHave({ parent: this.#parent().index, child, link, mac: bytes })) return;
      await sleep(pause);
    }
  }

  releaseOthers(endpoints: ReadonlySet<string>): void {
    this.#parts.leases.releaseOthers(this.#record.id, (holder) => endpoints.has(holder));
  }

  /** They are in the containers' namespaces, and go with them. */
  async sweepLinks(): Promise<void> {}

  async remove(): Promise<void> {
    const { parent } = this.#settings;
    if (this.#record.config.madeParent && !this.#parts.shared(parent)) await removeParent(parent);
  }

  async stop(): Promise<void> {}
}

/** Others on the wire may remember the address with a MAC address of before: they are told when the link comes up. */
function announcing(name: string, ipv6: boolean): Record<string, string> {
  return {
    [`net/ipv4/conf/${name}/arp_notify`]: "1",
    ...(ipv6 && { [`net/ipv6/conf/${name}/ndisc_notify`]: "1" }),
  };
}
