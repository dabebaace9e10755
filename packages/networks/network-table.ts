/**
 * The networks by name and id, in memory and in the database, each with the driver that runs it. The three default ones
 * are made when missing; their ids never change afterwards.
 */
import { BerthError } from "#errors/errors.ts";
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import {
  type DamageListener,
  type NetworkRecord,
  type NetworkRecords,
  randomId,
} from "#networks/network-record.ts";
import type { PluginAddresses } from "#networks/plugins/plugin-addresses.ts";

/** The default networks; no other may have these names. "default" is how the API writes the default bridge. */
export const predefined: ReadonlyMap<string, NetworkRecord["driver"]> = new Map([
  ["bridge", "bridge"],
  ["host", "host"],
  ["none", "null"],
]);

export interface Network {
  /** Changed in place when the default bridge moves to another subnet. */
  record: NetworkRecord;
  driver: NetworkDriver;
  /** Where a plugin gives the addresses. */
  addresses?: PluginAddresses | undefined;
}

export class NetworkTable {
  readonly #records: NetworkRecords;
  readonly #make: (record: NetworkRecord) => Omit<Network, "record">;
  readonly #byName = new Map<string, Network>();
  readonly #leaving = new Set<Network>();

  constructor(records: NetworkRecords, make: (record: NetworkRecord) => Omit<Network, "record">) {
    this.#records = records;
    this.#make = make;
  }

  /** Reads the networks; without `bridge` the default one is left out (and kept in the database). */
  load(bridge: boolean, onDamage: DamageListener): void {
    const records = this.#records.networks(onDamage);
    for (const [name, driver] of predefined) {
      if (records.some((record) => record.name === name)) continue;
      const record = { id: randomId(), name, driver, created: new Date().toISOString(), config: {} };
      this.#records.saveNetwork(record);
      records.push(record);
    }
    for (const record of records) {
      if (record.name === "bridge" && !bridge) continue;
      const network = { record, ...this.#make(record) };
      if (record.config.leaving) this.#leaving.add(network);
      else this.#byName.set(record.name, network);
    }
  }

  /** Those whose removal has begun, perhaps with a former daemon; nobody finds them. */
  get leaving(): readonly Network[] {
    return [...this.#leaving];
  }

  /** Writes down that its removal begins, or that it has come to nothing. */
  setLeaving(network: Network, leaving: boolean): void {
    const { record } = network;
    const { leaving: _, ...config } = record.config;
    this.#records.saveNetwork({ ...record, config: leaving ? { ...config, leaving } : config });
    if (leaving) this.#leaving.add(network);
    else this.#leaving.delete(network);
  }

  /** Writes the row; throws "conflict" with Docker's text if the name is taken. */
  add(record: NetworkRecord): Network {
    if (this.#byName.has(record.name)) {
      throw new BerthError("conflict", `network with name ${record.name} already exists`, {
        operation: "create network",
        object: record.name,
        hint: `choose another name, or remove it first: docker network rm ${record.name}`,
      });
    }
    if (this.leaving.some((other) => other.record.name === record.name)) {
      throw new BerthError("conflict", `network with name ${record.name} is still being removed`, {
        operation: "create network",
        object: record.name,
        hint: "the daemon's log tells what is in the way; choose another name, or try again",
      });
    }
    const network = { record, ...this.#make(record) };
    this.#records.saveNetwork(record);
    this.#byName.set(record.name, network);
    return network;
  }

  /** Nobody finds it any more; its row stays until `forget`. */
  hide(network: Network): void {
    this.#byName.delete(network.record.name);
  }

  /** It could not be removed: it is there again. */
  show(network: Network): void {
    this.#byName.set(network.record.name, network);
  }

  forget(network: Network): void {
    this.#records.removeNetwork(network.record.id);
    this.#leaving.delete(network);
  }

  all(): Network[] {
    return [...this.#byName.values()];
  }

  find(name: string): Network | undefined {
    return this.#byName.get(name);
  }

  /** By name, id, or unique beginning of an id. */
  get(nameOrId: string): Network {
    const named = this.#byName.get(nameOrId);
    if (named !== undefined) return named;
    const matches = nameOrId === "" ? [] : this.all().filter(({ record }) => record.id.startsWith(nameOrId));
    if (matches.length > 1) {
      throw new BerthError(
        "invalid",
        `network ${nameOrId} is ambiguous (${matches.length} matches found on ID prefix)`,
        { operation: "find network", object: nameOrId },
      );
    }
    const [match] = matches;
    if (match === undefined) {
      throw new BerthError("not-found", `network ${nameOrId} not found`, {
        operation: "find network",
        object: nameOrId,
      });
    }
    return match;
  }

  /** The network of a HostConfig.NetworkMode. Where there is no default bridge, the default is to have none. */
  ofMode(mode: string): Network {
    if (mode === "default" || mode === "" || mode === "bridge") {
      return this.#byName.get("bridge") ?? this.get("none");
    }
    return this.get(mode);
  }
}
