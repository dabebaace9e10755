/**
 * Which driver runs a network, and what the drivers share: leases, ports, interface numbers, what this kernel has.
 *
 * Owns nothing on the host; makes drivers and hands them what they need of one another.
 */
import { join } from "node:path";
import type { Logger } from "#errors/logger-types.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { BridgeNetwork } from "#networks/drivers/bridge.ts";
import { readSysctl } from "#networks/drivers/bridge-link.ts";
import { defaultBridgeSettings, userBridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { BridgeShared } from "#networks/drivers/bridge-shared.ts";
import { ChildLinkNetwork } from "#networks/drivers/child-link.ts";
import { childLinkSettings, isChildDriver } from "#networks/drivers/child-link-settings.ts";
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { DyingLinks } from "#networks/drivers/dying-links.ts";
import { hostNetwork } from "#networks/drivers/host.ts";
import { LinkIndexes } from "#networks/drivers/link-indexes.ts";
import { nullNetwork } from "#networks/drivers/null.ts";
import { createFirewall } from "#networks/firewall/create-firewall.ts";
import { readLinks } from "#networks/host-survey.ts";
import { AddressLeases } from "#networks/ipam/address-leases.ts";
import { subnetsOf } from "#networks/network-create.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { type Network, predefined } from "#networks/network-table.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import { IpamPlugin } from "#networks/plugins/ipam-plugin.ts";
import { NetworkPlugin } from "#networks/plugins/network-plugin.ts";
import { PluginAddresses } from "#networks/plugins/plugin-addresses.ts";
import { isOwnDriver } from "#networks/plugins/plugin-create.ts";
import { PluginHoldings } from "#networks/plugins/plugin-holdings.ts";
import { PluginNetwork } from "#networks/plugins/plugin-network.ts";
import { PortAllocator } from "#networks/ports/port-allocator.ts";
import { hostHasIpv6 } from "#networks/ports/port-reservation.ts";
import { PortProxy } from "#networks/proxy/port-proxy.ts";
import type { Plugins } from "#plugins/plugins.ts";
import type { Database } from "#state/database.ts";

/** What a network's driver needs of the other networks. */
export interface OtherNetworks {
  /** Those users have made, as they are written down. */
  records: () => NetworkRecord[];
  save: (record: NetworkRecord) => void;
}

export interface DriverParts {
  logger: Logger;
  plugins: Plugins;
  /** The port proxy's program; undefined for no proxy. */
  launcherPath: string | undefined;
}

export class NetworkDrivers {
  readonly #shared: BridgeShared;
  readonly #proxy: PortProxy | undefined;
  readonly #others: OtherNetworks;
  readonly #dying = new DyingLinks();
  readonly #plugins: Plugins;

  constructor(database: Database, options: NetworkOptions, others: OtherNetworks, parts: DriverParts) {
    const { logger, plugins, launcherPath } = parts;
    this.#others = others;
    this.#plugins = plugins;
    let indexes: LinkIndexes | undefined;
    const proxy = launcherPath === undefined ? undefined : portProxy(launcherPath, options, logger);
    const hasProxy = proxy !== undefined && options.userlandProxy !== false;
    this.#proxy = proxy;
    const ipv6 = readSysctl("net/ipv6/conf/all/disable_ipv6") !== undefined;
    this.#shared = {
      database,
      options,
      logger,
      leases: new AddressLeases(database),
      ports: new PortAllocator(proxy !== undefined && hasProxy ? { proxy } : {}),
      hasProxy,
      hostHasIpv6: once(hostHasIpv6),
      firewall: createFirewall(database, options, ipv6, logger),
      indexes: () => {
        indexes ??= new LinkIndexes(presentLinks());
        return indexes;
      },
      ipv6,
    };
  }

  get kernelHasIpv6(): boolean {
    return this.#shared.ipv6;
  }

  /** What runs one network; nothing is made before its `start`. */
  make(record: NetworkRecord): Omit<Network, "record"> {
    const { ipamDriver = "default", ipamPools } = record.config;
    const addresses =
      ipamPools === undefined
        ? undefined
        : new PluginAddresses(
            record,
            new IpamPlugin(ipamDriver, this.#plugins),
            this.#holdings(record),
            this.#shared.logger,
          );
    return { driver: this.#driver(record), addresses };
  }

  #holdings({ id }: NetworkRecord): PluginHoldings {
    return new PluginHoldings(this.#shared.database, id);
  }

  #driver(record: NetworkRecord): NetworkDriver {
    if (record.driver === "host") return hostNetwork(record);
    if (record.driver === "null") return nullNetwork(record);
    if (predefined.has(record.name)) {
      return new BridgeNetwork(record, defaultBridgeSettings(this.#shared.options), this.#shared, {
        // It may move to another subnet.
        others: () => this.#others.records().flatMap(subnetsOf),
        save: (config) => this.#others.save({ ...record, config }),
      });
    }
    if (isChildDriver(record.driver)) {
      return new ChildLinkNetwork(record, childLinkSettings(record), {
        leases: this.#shared.leases,
        dying: this.#dying,
        shared: (parent) =>
          this.#others.records().some(({ id, config }) => id !== record.id && config.parent === parent),
      });
    }
    if (!isOwnDriver(record.driver)) {
      const { leases, logger } = this.#shared;
      const plugin = new NetworkPlugin(record.driver, this.#plugins);
      return new PluginNetwork(record, { plugin, leases, holdings: this.#holdings(record), logger });
    }
    return new BridgeNetwork(record, userBridgeSettings(record), this.#shared);
  }

  /** Looks after the rules of these networks from now on, and removes those of networks that are no more. */
  async startFirewall(records: readonly NetworkRecord[]): Promise<void> {
    const bridges = records.flatMap((record) => {
      if (record.driver !== "bridge") return [];
      return predefined.has(record.name) ? this.#shared.options.bridge : userBridgeSettings(record).bridge;
    });
    await this.#shared.firewall.start(new Set(bridges));
  }

  /** The rules stay as they are. */
  async stopFirewall(): Promise<void> {
    await this.#shared.firewall.close();
  }

  /** What the port proxy of a former daemon serves is there for who asks for it, or ends where none is wanted now. */
  async findProxy(): Promise<void> {
    await this.#proxy?.adopt();
    if (this.#shared.hasProxy) return;
    this.#proxy?.forgetUnclaimed();
    await this.#proxy?.settled();
    this.#proxy?.close();
  }

  /** Everybody has asked for what was published before. */
  forgetUnclaimedPorts(): void {
    this.#proxy?.forgetUnclaimed();
  }

  /** Lets go of all ports of the host: the next daemon takes them. The port proxy goes on. */
  releasePorts(): void {
    this.#proxy?.close();
    this.#shared.ports.releaseAll();
  }
}

function portProxy(launcherPath: string, { execRoot }: NetworkOptions, logger: Logger): PortProxy {
  return new PortProxy({ launcherPath, socketPath: join(execRoot, "proxy.sock"), logger });
}

function once<T>(find: () => T): () => T {
  let found: { value: T } | undefined;
  return () => {
    found ??= { value: find() };
    return found.value;
  };
}

function presentLinks() {
  using netlink = new NetlinkSocket();
  return readLinks(netlink);
}
