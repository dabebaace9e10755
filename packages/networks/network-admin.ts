/**
 * Making and removing users' networks, one after the other. A row is there before the interface and its rules, and goes
 * after them; in between it says that it is going.
 */
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import { usedPrefixes } from "#networks/host-survey.ts";
import { composeNetwork } from "#networks/network-create.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { type Network, type NetworkTable, predefined } from "#networks/network-table.ts";
import { madeFrom } from "#networks/network-template.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import { type PreparedCreate, prepareCreate } from "#networks/plugins/plugin-create.ts";
import type { Plugins } from "#plugins/plugins.ts";
import { throughShortage } from "#program/shortage.ts";
import { storeSurely } from "#state/store-surely.ts";

/** ms until what is left of a network that could not be made is tried to be taken away again. */
const UNDO_AGAIN = 5000;

export interface AdminParts {
  table: NetworkTable;
  options: NetworkOptions;
  plugins: Plugins;
  kernelHasIpv6: boolean;
  /** Names of the containers on a network. */
  usersOf: (network: Network) => string[];
  /** Resolves when what containers have given back is free. */
  settled: () => Promise<void>;
  logger: Logger;
}

export class NetworkAdmin {
  readonly #parts: AdminParts;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  /** Plugins are asked while others' networks are made: only who wants theirs waits for them. */
  async create(request: NetworkCreateRequest): Promise<NetworkRecord> {
    const prepared = await prepareCreate(request, this.#parts.plugins);
    let network: Network;
    try {
      network = await this.#oneAtATime(() => this.#create(prepared));
    } catch (error) {
      await prepared.undo();
      throw error;
    }
    try {
      await network.driver.create?.();
    } catch (error) {
      this.#parts.table.hide(network);
      this.#store(() => this.#parts.table.forget(network));
      await prepared.undo();
      throw error;
    }
    return network.record;
  }

  /** Answers the network that was removed. */
  remove(nameOrId: string): Promise<Network> {
    return this.#oneAtATime(() => this.#remove(nameOrId));
  }

  /** Resolves when nothing is being made or removed. */
  async settled(): Promise<void> {
    await this.#changing;
  }

  async #create({ request, complete }: PreparedCreate): Promise<Network> {
    const { table, options, kernelHasIpv6 } = this.#parts;
    const record = composeNetwork(
      request,
      {
        networks: table.all().map((network) => network.record),
        usedByHost: () => withNetlink((netlink) => usedPrefixes(netlink, -1)),
        hasInterface: (name) => withNetlink((netlink) => findLink(netlink, name) !== undefined),
        kernelHasIpv6,
      },
      options,
    );
    complete(record);
    const network = table.add(record);
    try {
      await network.driver.start(new Map());
    } catch (error) {
      table.hide(network);
      await this.#undo(network);
      throw error;
    }
    return network;
  }

  /**
   * Takes away what there is of one that cannot be made. What made it fail may keep it from that: it is tried again, also
   * by the next daemon.
   */
  async #undo(network: Network): Promise<void> {
    const { table, logger } = this.#parts;
    try {
      await throughShortage(() => network.driver.remove());
      this.#store(() => table.forget(network));
    } catch (error) {
      if (!table.leaving.includes(network)) {
        logger.error("what was made of a network cannot be taken away yet", {
          network: network.record.name,
          error: String(error),
        });
        this.#store(() => table.setLeaving(network, true));
      }
      setTimeout(() => void this.#oneAtATime(() => this.#undo(network)), UNDO_AGAIN).unref();
    }
  }

  async #remove(nameOrId: string): Promise<Network> {
    const { table } = this.#parts;
    const network = table.get(nameOrId);
    this.#checkRemovable(network);
    // From here on nobody can join.
    table.hide(network);
    try {
      // Addresses of containers just gone may still be on their way back.
      await this.#parts.settled();
      // Once something of it has gone it must not come back, whenever this daemon ends.
      table.setLeaving(network, true);
    } catch (error) {
      table.show(network);
      throw error;
    }
    try {
      await this.#takeAway(network);
    } catch (error) {
      table.show(network);
      this.#store(() => table.setLeaving(network, false));
      throw error;
    }
    return network;
  }

  async #takeAway(network: Network): Promise<void> {
    await network.driver.remove();
    await network.addresses?.releasePools();
    this.#store(() => this.#parts.table.forget(network));
  }

  /** Removes what a former daemon was removing. What fails is left to the next one. */
  async finishRemovals(): Promise<void> {
    const { table, logger } = this.#parts;
    for (const network of table.leaving) {
      await this.#takeAway(network).catch((error: unknown) =>
        logger.error("a network cannot be removed", { network: network.record.name, error: String(error) }),
      );
    }
  }

  /** Writes to the database, now or as soon as the disk lets it. */
  #store(write: () => void): void {
    storeSurely(write, (error) =>
      this.#parts.logger.error("the end of a network cannot be stored yet", { error: String(error) }),
    );
  }

  #checkRemovable(network: Network): void {
    const { name, id } = network.record;
    const refuse = (message: string, hint?: string) =>
      new BerthError("forbidden", message, {
        operation: "remove network",
        object: name,
        ...(hint !== undefined && { hint }),
      });
    if (predefined.has(name)) throw refuse(`${name} is a pre-defined network and cannot be removed`);
    const copies = madeFrom(
      name,
      this.#parts.table.all().map(({ record }) => record),
    );
    if (network.record.config.template !== undefined && copies.length > 0) {
      throw refuse(
        `error while removing network: configuration network ${JSON.stringify(name)} is in use`,
        `these networks are made of it: ${copies.join(", ")}`,
      );
    }
    const users = this.#parts.usersOf(network);
    if (users.length === 0) return;
    throw refuse(
      `error while removing network: network ${name} id ${id} has active endpoints`,
      `these containers are on it: ${users.join(", ")}`,
    );
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work);
    this.#changing = done.catch(() => {});
    return done;
  }
}

function withNetlink<T>(work: (netlink: NetlinkSocket) => T): T {
  using netlink = new NetlinkSocket();
  return work(netlink);
}
