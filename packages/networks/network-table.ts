/**
 * The networks by name and id, in memory and in the database. The three default ones are made when missing; their ids
 * never change afterwards.
 */
import { BerthError } from "#errors/errors.ts";
import {
  type NetworkConfig,
  type NetworkRecord,
  type NetworkRecords,
  randomId,
} from "#networks/network-record.ts";

const defaults = [
  { name: "bridge", driver: "bridge" },
  { name: "host", driver: "host" },
  { name: "none", driver: "null" },
] as const;

export class NetworkTable {
  readonly #records: NetworkRecords;
  readonly #byName = new Map<string, NetworkRecord>();

  constructor(records: NetworkRecords) {
    this.#records = records;
  }

  /** Reads the networks; without `bridge` the default one is left out (and kept in the database). */
  load(bridge: boolean): void {
    for (const record of this.#records.networks()) this.#byName.set(record.name, record);
    for (const { name, driver } of defaults) {
      if (this.#byName.has(name)) continue;
      const record = { id: randomId(), name, driver, created: new Date().toISOString(), config: {} };
      this.#records.saveNetwork(record);
      this.#byName.set(name, record);
    }
    if (!bridge) this.#byName.delete("bridge");
  }

  update(record: NetworkRecord, config: NetworkConfig): void {
    const updated = { ...record, config };
    this.#records.saveNetwork(updated);
    this.#byName.set(record.name, updated);
  }

  all(): NetworkRecord[] {
    return [...this.#byName.values()];
  }

  find(name: string): NetworkRecord | undefined {
    return this.#byName.get(name);
  }

  /** By name, id, or unique beginning of an id. */
  get(nameOrId: string): NetworkRecord {
    const named = this.#byName.get(nameOrId);
    if (named !== undefined) return named;
    const matches = nameOrId === "" ? [] : this.all().filter((record) => record.id.startsWith(nameOrId));
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
  ofMode(mode: string): NetworkRecord {
    if (mode === "default" || mode === "" || mode === "bridge") {
      return this.#byName.get("bridge") ?? this.get("none");
    }
    return this.get(mode);
  }
}
