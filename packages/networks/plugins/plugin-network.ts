/**
 * A network that a plugin runs: it makes a link on the host for each endpoint, which goes into the container's namespace
 * by the same program as those of other drivers.
 *
 * Owns the rows of what the plugin was asked to make. The end of a container never waits for the plugin.
 */

import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { parseMac } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import type {
  AttachRequest,
  DriverEndpoint,
  EndpointRequest,
  NetworkDriver,
} from "#networks/drivers/driver-types.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { addressedEndpoint, bareEndpoint } from "#networks/endpoint-settings.ts";
import type { AddressLeases } from "#networks/ipam/address-leases.ts";
import { poolsOf, recordedPools, takeAddress, wish } from "#networks/ipam/network-pools.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { type NetworkPlugin, type PoolData, told } from "#networks/plugins/network-plugin.ts";
import {
  pluginEndpoint,
  portOptions,
  type SourceLink,
  withLength,
} from "#networks/plugins/plugin-endpoint.ts";
import type { PluginHoldings } from "#networks/plugins/plugin-holdings.ts";

/** Docker's names of what plugins are told (netlabel). */
const GENERIC = "com.docker.network.generic";
const ENABLE_IPV4 = "com.docker.network.enable_ipv4";
const ENABLE_IPV6 = "com.docker.network.enable_ipv6";
const INTERNAL = "com.docker.network.internal";
const MAC_ADDRESS = "com.docker.network.endpoint.macaddress";

export interface PluginNetworkParts {
  plugin: NetworkPlugin;
  leases: AddressLeases;
  holdings: PluginHoldings;
  logger: Logger;
}

export class PluginNetwork implements NetworkDriver {
  readonly ownNamespace = true;
  readonly gateway = undefined;
  readonly #record: NetworkRecord;
  readonly #parts: PluginNetworkParts;
  /** What is being given back now; the removal of the network waits for it, and nobody else. */
  readonly #parting = new Map<string, Promise<void>>();

  constructor(record: NetworkRecord, parts: PluginNetworkParts) {
    this.#record = record;
    this.#parts = parts;
  }

  get hasIpv6(): boolean {
    return this.#record.config.ipv6 !== undefined;
  }

  get routes(): { ipv4: boolean; ipv6: boolean } {
    const { internal = false } = this.#record.config;
    return { ipv4: !internal, ipv6: !internal && this.hasIpv6 };
  }

  async create(): Promise<void> {
    const { id, config } = this.#record;
    const options = {
      [GENERIC]: config.options ?? {},
      [ENABLE_IPV4]: true,
      [ENABLE_IPV6]: this.hasIpv6,
      ...(config.internal && { [INTERNAL]: true }),
    };
    try {
      await this.#parts.plugin.createNetwork(id, options, this.#pools(4), this.#pools(6));
    } catch (error) {
      throw told(error, "create network", this.#record.name);
    }
  }

  #pools(family: Family): PoolData[] {
    const { config } = this.#record;
    const pools = recordedPools(config).filter(({ subnet }) => subnet.includes(":") === (family === 6));
    return pools.map(({ subnet, gateway = "", reserved = {} }) => {
      const length = Number(subnet.split("/")[1]);
      return {
        AddressSpace: config.ipamSpace ?? "LocalDefault",
        Pool: subnet,
        Gateway: withLength(gateway, length),
        AuxAddresses: Object.fromEntries(
          Object.entries(reserved).map(([name, address]) => [name, withLength(address, length)]),
        ),
      };
    });
  }

  /** The plugin remembers its networks itself. */
  async start(): Promise<void> {}

  take(request: EndpointRequest): DriverEndpoint {
    const { leases, holdings } = this.#parts;
    const { endpointId, wishes } = request;
    const { id, config } = this.#record;
    const asked = wishes.IPAMConfig;
    const ipv4 = takeAddress(leases, this.#record, poolsOf(config, 4), endpointId, wish(asked?.IPv4Address));
    const ipv6 = takeAddress(leases, this.#record, poolsOf(config, 6), endpointId, wish(asked?.IPv6Address));
    holdings.note({ endpointId, kind: "endpoint", value: "" });
    const mac = parseMac(request.macAddress);
    const settings = addressedEndpoint(bareEndpoint(id, endpointId), {
      mac,
      ipv4,
      ipv6,
      routes: this.routes,
    });
    return { settings, program: emptyProgram(), veth: "" };
  }

  async attach(request: AttachRequest, taken: DriverEndpoint): Promise<DriverEndpoint> {
    const { plugin } = this.#parts;
    const { id, name } = this.#record;
    const { endpointId, containerName } = request;
    const { settings } = taken;
    const options = {
      ...request.wishes.DriverOpts,
      ...portOptions(request),
    };
    let interface_: Awaited<ReturnType<typeof plugin.createEndpoint>>;
    try {
      interface_ = await plugin.createEndpoint(id, endpointId, options, {
        Address: withLength(settings.IPAddress, settings.IPPrefixLen),
        AddressIPv6: withLength(settings.GlobalIPv6Address, settings.GlobalIPv6PrefixLen),
        MacAddress: settings.MacAddress,
      });
    } catch (error) {
      const before = `failed to create endpoint ${containerName} on network ${name}: `;
      throw told(error, "create endpoint", containerName, before);
    }
    try {
      const joined = await plugin.join(id, endpointId, request.sandboxKey, {});
      const said = await plugin.operatingInformation(id, endpointId).catch(() => ({}));
      const mac = interface_.MacAddress || textOf((said as Record<string, unknown>)[MAC_ADDRESS]);
      if (request.defaultRoute.ipv4 || request.defaultRoute.ipv6) await this.#program(request, options);
      const has = { ...interface_, MacAddress: mac };
      return pluginEndpoint(request, has, joined, taken, (source) => this.#source(source));
    } catch (error) {
      throw told(error, "join network", name);
    }
  }

  /** Published ports are the plugin's to lead to the container; what it has not heard of, it need not do. */
  async #program({ endpointId }: AttachRequest, options: Record<string, unknown>): Promise<void> {
    const { plugin, holdings } = this.#parts;
    holdings.note({ endpointId, kind: "external", value: "" });
    await plugin.programExternal(this.#record.id, endpointId, options);
  }

  #source(name: string): SourceLink {
    using netlink = new NetlinkSocket();
    const link = findLink(netlink, name);
    if (link !== undefined) return link;
    throw new BerthError("internal", `the plugin ${this.#parts.plugin.name} has made no link ${name}`, {
      operation: "join network",
      object: this.#record.name,
    });
  }

  takePorts(): [] {
    return [];
  }

  async publish(): Promise<void> {}

  async withdraw(): Promise<void> {}

  async leave(endpointId: string): Promise<void> {
    this.#parts.leases.release(endpointId);
    if (this.#parting.has(endpointId)) return;
    this.#parting.set(
      endpointId,
      this.#part(endpointId).finally(() => this.#parting.delete(endpointId)),
    );
  }

  /** What fails is tried again when the daemon starts. */
  async #part(endpointId: string): Promise<void> {
    const { plugin, holdings, logger } = this.#parts;
    const { id } = this.#record;
    try {
      for (const holding of holdings.all(endpointId)) {
        if (holding.kind !== "external") continue;
        await plugin.revokeExternal(id, endpointId).catch((error: unknown) => this.#complain(error));
        holdings.forget(holding);
      }
      const [made] = holdings.all(endpointId).filter(({ kind }) => kind === "endpoint");
      if (made === undefined) return;
      await plugin.leave(id, endpointId).catch((error: unknown) => this.#complain(error));
      await plugin.deleteEndpoint(id, endpointId);
      holdings.forget(made);
    } catch (error) {
      logger.warn("a plugin has not taken an endpoint back", { plugin: plugin.name, error: String(error) });
    }
  }

  #complain(error: unknown): void {
    const { plugin, logger } = this.#parts;
    logger.warn("a plugin has failed at the end of a container", {
      plugin: plugin.name,
      error: String(error),
    });
  }

  resume(): void {}

  releaseOthers(endpoints: ReadonlySet<string>): void {
    const { holdings, leases } = this.#parts;
    leases.releaseOthers(this.#record.id, (endpointId) => endpoints.has(endpointId));
    const held = holdings
      .all()
      .filter(({ kind, endpointId }) => kind !== "address" && !endpoints.has(endpointId));
    for (const endpointId of new Set(held.map((holding) => holding.endpointId))) void this.leave(endpointId);
  }

  async sweepLinks(): Promise<void> {}

  /** A network whose plugin is gone can be removed all the same, as with Docker. */
  async remove(): Promise<void> {
    await Promise.all(this.#parting.values());
    try {
      await this.#parts.plugin.deleteNetwork(this.#record.id);
    } catch (error) {
      this.#complain(error);
    }
  }

  async stop(): Promise<void> {}
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
