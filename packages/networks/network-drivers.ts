/**
 * Which driver runs a network, and what the drivers share: leases, ports, interface numbers, what this kernel has.
 *
 * Owns nothing on the host; makes drivers and hands them what they need of one another.
 */
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { BridgeNetwork, type BridgeShared } from "#networks/drivers/bridge.ts";
import { readSysctl } from "#networks/drivers/bridge-link.ts";
import { defaultBridgeSettings, userBridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { hostNetwork } from "#networks/drivers/host.ts";
import { LinkIndexes } from "#networks/drivers/link-indexes.ts";
import { nullNetwork } from "#networks/drivers/null.ts";
import { readLinks } from "#networks/host-survey.ts";
import { AddressLeases } from "#networks/ipam/address-leases.ts";
import type { Prefix } from "#networks/ipam/prefix.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { predefined } from "#networks/network-table.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import { PortAllocator } from "#networks/ports/port-allocator.ts";
import type { Database } from "#state/database.ts";

/** What the default bridge needs of the other networks: it may move to another subnet. */
export interface DefaultBridgeParts {
  /** Subnets of the networks users have made. */
  others: () => Prefix[];
  save: (record: NetworkRecord) => void;
}

export class NetworkDrivers {
  readonly #shared: BridgeShared;
  readonly #defaultBridge: DefaultBridgeParts;

  constructor(
    database: Database,
    options: NetworkOptions,
    defaultBridge: DefaultBridgeParts,
    logger: Logger = silentLogger,
  ) {
    this.#defaultBridge = defaultBridge;
    let indexes: LinkIndexes | undefined;
    this.#shared = {
      database,
      options,
      logger,
      leases: new AddressLeases(database),
      ports: new PortAllocator(),
      indexes: () => {
        indexes ??= new LinkIndexes(presentLinks());
        return indexes;
      },
      ipv6: readSysctl("net/ipv6/conf/all/disable_ipv6") !== undefined,
    };
  }

  get kernelHasIpv6(): boolean {
    return this.#shared.ipv6;
  }

  /** The driver of one network; nothing is made before its `start`. */
  make(record: NetworkRecord): NetworkDriver {
    if (record.driver === "host") return hostNetwork(record);
    if (record.driver === "null") return nullNetwork(record);
    if (predefined.has(record.name)) {
      const { others, save } = this.#defaultBridge;
      return new BridgeNetwork(record, defaultBridgeSettings(this.#shared.options), this.#shared, {
        others,
        save: (config) => save({ ...record, config }),
      });
    }
    return new BridgeNetwork(record, userBridgeSettings(record), this.#shared);
  }

  /** Lets go of all ports of the host: the next daemon takes them. */
  releasePorts(): void {
    this.#shared.ports.releaseAll();
  }
}

function presentLinks() {
  using netlink = new NetlinkSocket();
  return readLinks(netlink);
}
