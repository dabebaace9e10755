/**
 * The bridge driver: one bridge on the host a network, a veth pair per endpoint, published ports by address translation.
 *
 * Owns the bridge's interface, its firewall and its addresses; the ports of the host and the numbers of links are shared
 * with the other bridges. What an endpoint without published ports costs here is one database row and a few hundred
 * bytes of prepared messages: no process, no message to the kernel.
 */
import { BerthError } from "#errors/errors.ts";
import { deleteLink } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { endpointOptions } from "#networks/drivers/bridge-endpoint.ts";
import {
  bridgeAddress,
  ensureBridge,
  findLink,
  readSysctl,
  removeBridgeLink,
  showFrames,
  writeSysctl,
} from "#networks/drivers/bridge-link.ts";
import {
  type BridgePlan,
  type BridgePool,
  planBridge,
  planConfig,
  recordedPlan,
} from "#networks/drivers/bridge-plan.ts";
import { BridgePorts } from "#networks/drivers/bridge-ports.ts";
import type { BridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { BridgeShared } from "#networks/drivers/bridge-shared.ts";
import type {
  DriverEndpoint,
  EndpointRequest,
  NetworkDriver,
  PortOwner,
  PublishedBefore,
} from "#networks/drivers/driver-types.ts";
import { bridgeProgram, joinAddress, macOf } from "#networks/drivers/sandbox-program.ts";
import { addressedEndpoint, bareEndpoint } from "#networks/endpoint-settings.ts";
import type { LinkRule } from "#networks/firewall/desired-rules.ts";
import { readLinks, usedPrefixes } from "#networks/host-survey.ts";
import { takeAddress, wish } from "#networks/ipam/network-pools.ts";
import { uniqueLocal } from "#networks/ipam/pool-choice.ts";
import { type Family, formatAddress, type Prefix, parseAddress } from "#networks/ipam/prefix.ts";
import type { NetworkConfig, NetworkRecord } from "#networks/network-record.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";

/** What sets the default network apart: its plan is made at each start, and written down. */
export interface DefaultBridge {
  /** Subnets of other networks, whether or not their interfaces are there yet. */
  others: () => readonly Prefix[];
  save: (config: NetworkConfig) => void;
}

interface Running extends BridgePlan {
  index: number;
  portsIsolated: boolean;
}

export class BridgeNetwork implements NetworkDriver {
  readonly ownNamespace = true;
  readonly #record: Pick<NetworkRecord, "id" | "name" | "config">;
  readonly #settings: BridgeSettings;
  readonly #shared: BridgeShared;
  readonly #default: DefaultBridge | undefined;
  readonly #ports: BridgePorts;
  #running: Running | undefined;

  constructor(
    record: Pick<NetworkRecord, "id" | "name" | "config">,
    settings: BridgeSettings,
    shared: BridgeShared,
    defaultBridge?: DefaultBridge,
  ) {
    this.#record = record;
    this.#settings = settings;
    this.#shared = shared;
    this.#default = defaultBridge;
    this.#ports = new BridgePorts(settings, shared);
  }

  get hasIpv6(): boolean {
    return this.#record.config.ipv6 !== undefined;
  }

  /** The default bridge, whose plan comes with its start, always has it. */
  get #hasIpv4(): boolean {
    return this.#default !== undefined || this.#record.config.subnet !== undefined;
  }

  get routes(): { ipv4: boolean; ipv6: boolean } {
    const { internal } = this.#settings;
    return { ipv4: !internal && this.#hasIpv4, ipv6: !internal && this.hasIpv6 };
  }

  get gateway(): string | undefined {
    if (this.#settings.isolated || this.#running?.ipv4 === undefined) return undefined;
    return formatAddress(this.#running.ipv4.gateway);
  }

  async start(published: PublishedBefore): Promise<void> {
    const { bridge, mtu, isolated } = this.#settings;
    const { options } = this.#shared;
    using netlink = new NetlinkSocket();
    const { gateway, ipv6 } = this.#record.config;
    const former = [gateway, ipv6?.gateway].flatMap((text) => parseAddress(text ?? "") ?? []);
    const plan = this.#default === undefined ? recordedPlan(this.#record.config) : this.#plan(netlink);
    const addresses = [plan.ipv4, plan.ipv6].flatMap((pool) =>
      pool === undefined ? [] : [{ address: pool.gateway, prefixLength: pool.subnet.length }],
    );
    const index = ensureBridge(netlink, {
      name: bridge,
      addresses: isolated ? [] : addresses,
      mtu,
      former,
    });
    this.#shared.indexes();
    // Where the firewall sees bridged frames, its rules keep containers apart; elsewhere the bridge itself must.
    const apart = !this.#settings.icc;
    const seesFrames = apart && this.#shared.firewall.covers(4) && showFrames(netlink, index);
    this.#running = { ...plan, index, portsIsolated: apart && !seesFrames };
    await this.#raiseFirewall(plan, published);
    if (options.ipForward && !this.#settings.internal) await this.#forward();
  }

  #plan(netlink: NetlinkSocket): BridgePlan {
    const { bridge } = this.#settings;
    const { config, id } = this.#record;
    const existing = findLink(netlink, bridge);
    const plan = planBridge(this.#shared.options, {
      present: existing && bridgeAddress(netlink, existing.index),
      remembered: config,
      ownSubnet6: this.#shared.ipv6 ? uniqueLocal(id) : undefined,
      used: [...usedPrefixes(netlink, existing?.index ?? -1), ...(this.#default?.others() ?? [])],
    });
    const planned = planConfig(bridge, plan);
    if (JSON.stringify(planned) !== JSON.stringify(config)) {
      this.#default?.save(planned);
      this.#record.config = planned;
      const moved = planned.subnet !== config.subnet || planned.ipv6?.subnet !== config.ipv6?.subnet;
      if (moved) this.#shared.leases.forgetFree(id);
    }
    return plan;
  }

  async #raiseFirewall(plan: BridgePlan, published: PublishedBefore): Promise<void> {
    const { bridge, masquerade, icc, internal, modes } = this.#settings;
    const { firewall } = this.#shared;
    const pools = [plan.ipv4, plan.ipv6].flatMap((pool) => pool ?? []);
    firewall.set(
      bridge,
      pools.map(({ subnet }) => {
        const gatewayMode = modes[subnet.family];
        return { bridge, subnet, masquerade, icc, internal, gatewayMode };
      }),
    );
    for (const [endpoint, { owner, ports }] of published) {
      firewall.publish(bridge, endpoint, this.#ports.rules(owner, ports));
    }
    await firewall.apply();
    // Only behind the rules that keep loopback addresses off the wire.
    if (plan.ipv4 !== undefined && firewall.covers(4)) {
      writeSysctl(`net/ipv4/conf/${bridge}/route_localnet`, "1");
    }
  }

  /** A host that did not route until now must not begin to route for everybody. */
  async #forward(): Promise<void> {
    const families: readonly (readonly [Family, string])[] = [
      ...(this.#hasIpv4 ? [[4, "net/ipv4/ip_forward"] as const] : []),
      ...(this.hasIpv6 ? [[6, "net/ipv6/conf/all/forwarding"] as const] : []),
    ];
    for (const [family, setting] of families) {
      if (readSysctl(setting) === "1") continue;
      await this.#shared.firewall.denyForwarding(family);
      writeSysctl(setting, "1");
    }
  }

  take(request: EndpointRequest): DriverEndpoint {
    const running = this.#started();
    const { endpointId, wishes, link, defaultRoute } = request;
    const take = (pool: BridgePool | undefined, wanted: string | undefined) =>
      takeAddress(this.#shared.leases, this.#record, pool ? [pool] : [], endpointId, wish(wanted));
    const ipv4 = take(running.ipv4, wishes.IPAMConfig?.IPv4Address);
    const ipv6 = take(running.ipv6, wishes.IPAMConfig?.IPv6Address);
    const mac = macOf(request.macAddress, ipv4 ?? ipv6);
    const veth = `veth${endpointId.slice(0, 7)}`;
    const routes = this.routes;
    return {
      settings: addressedEndpoint(bareEndpoint(this.#record.id, endpointId), { mac, ipv4, ipv6, routes }),
      program: bridgeProgram({
        bridge: { name: this.#settings.bridge, index: running.index },
        veth: { name: veth, index: this.#shared.indexes().next() },
        link,
        mtu: this.#settings.mtu,
        mac,
        ipv4: joinAddress(ipv4),
        ipv6: joinAddress(ipv6),
        gateways: [
          ...(defaultRoute.ipv4 && routes.ipv4 && running.ipv4 ? [running.ipv4.gateway] : []),
          ...(defaultRoute.ipv6 && routes.ipv6 && running.ipv6 ? [running.ipv6.gateway] : []),
        ],
        hairpin: request.publishes,
        isolated: running.portsIsolated,
        namespaceHasIpv6: request.namespaceHasIpv6,
        ...endpointOptions(wishes, link.name),
      }),
      veth,
    };
  }

  async takePorts(owner: PortOwner, wanted: readonly WantedPort[]): Promise<PublishedPort[]> {
    if (wanted.length === 0 || this.#settings.internal) return [];
    this.#started();
    return await this.#ports.take(owner, wanted);
  }

  publish(owner: PortOwner, published: readonly PublishedPort[]): Promise<void> {
    return this.#ports.publish(owner, published);
  }

  withdraw(endpointId: string, published: readonly PublishedPort[]): Promise<void> {
    return this.#ports.withdraw(endpointId, published);
  }

  leave(endpointId: string, published: readonly PublishedPort[]): Promise<void> {
    return this.#ports.leave(endpointId, published);
  }

  freed(): Promise<void> {
    return this.#ports.freed();
  }

  resume(owner: PortOwner, published: readonly PublishedPort[]): void {
    this.#ports.resume(owner, published);
  }

  async permit(endpointId: string, links: readonly LinkRule[]): Promise<void> {
    if (this.#settings.icc) return;
    const { firewall } = this.#shared;
    if (firewall.permit(this.#settings.bridge, endpointId, links)) await firewall.apply();
  }

  releaseOthers(endpoints: ReadonlySet<string>): void {
    this.#shared.leases.releaseOthers(
      this.#record.id,
      (holder) => endpoints.has(holder) || this.#ports.lingers(holder),
    );
  }

  /** Off the event loop. */
  async sweepLinks(keep: () => ReadonlySet<string>): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    using netlink = new NetlinkSocket();
    const ours = readLinks(netlink).filter(
      (link) => link.master === running.index && /^veth[0-9a-f]{7}$/.test(link.name),
    );
    for (const link of ours) {
      // Asked anew for each: deleting takes long enough for a container to be started meanwhile.
      if (keep().has(link.name)) continue;
      try {
        await netlink.requestSlowly(deleteLink(link.index));
      } catch (error) {
        // Its namespace was quicker.
        if (!isErrno(error, "ENODEV")) throw error;
      }
    }
  }

  /** Rules last: what has no interface any more cannot be reached without them. */
  async remove(): Promise<void> {
    const { bridge } = this.#settings;
    await this.stop();
    // One whose namespace somebody still holds would outlive the bridge, and nobody would know whose it was.
    await this.sweepLinks(() => new Set());
    if (!this.#record.config.foundBridge) await removeBridgeLink(bridge);
    await this.#shared.firewall.remove(bridge);
    this.#running = undefined;
  }

  async stop(): Promise<void> {
    await this.#shared.firewall.settled();
  }

  #started(): Running {
    if (this.#running !== undefined) return this.#running;
    const { name } = this.#record;
    throw new BerthError("internal", `network ${name} could not be set up when the daemon started`, {
      operation: "join network",
      object: name,
      hint: "the daemon's log tells why; it is tried again when the daemon starts",
    });
  }
}
