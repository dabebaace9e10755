/**
 * What the database keeps of networks and of what containers hold: rows in, values out.
 */
import { randomBytes } from "node:crypto";
import type { EndpointSettings, PortBinding } from "#api-types/network.ts";
import type { PublishedPort } from "#networks/ports/port-allocator.ts";
import type { Database } from "#state/database.ts";

export interface NetworkRecord {
  /** 64 hexadecimal digits, for ever the same. */
  id: string;
  name: string;
  driver: "bridge" | "host" | "null";
  created: string;
  config: NetworkConfig;
}

/** Empty for host and null. */
export interface NetworkConfig {
  /** Name of the bridge's interface. */
  bridge?: string;
  /** "172.17.0.0/16" */
  subnet?: string;
  gateway?: string;
  /** The part of the subnet addresses come from. */
  range?: string;
}

/** What a container holds while it runs. */
export interface HeldSandbox {
  containerId: string;
  name: string;
  sandboxId: string;
  sandboxKey: string;
  endpoints: Record<string, EndpointSettings>;
  ports: Record<string, PortBinding[] | null>;
  published: PublishedPort[];
  /** The links on the host's side. */
  veths: string[];
}

/** An id as Docker makes them. */
export function randomId(): string {
  return randomBytes(32).toString("hex");
}

export class NetworkRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  networks(): NetworkRecord[] {
    return this.#database
      .all<Omit<NetworkRecord, "config"> & { config: string }>("SELECT * FROM network ORDER BY name")
      .map((row) => ({ ...row, config: JSON.parse(row.config) as NetworkConfig }));
  }

  /** Survives power loss: scripts keep network ids. */
  saveNetwork(record: NetworkRecord): void {
    this.#database.durably(() =>
      this.#database.run(
        `INSERT INTO network (id, name, driver, created, config) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET config = excluded.config`,
        record.id,
        record.name,
        record.driver,
        record.created,
        JSON.stringify(record.config),
      ),
    );
  }

  sandboxes(): HeldSandbox[] {
    return this.#database
      .all<{ held: string }>("SELECT held FROM network_sandbox")
      .map((row) => JSON.parse(row.held) as HeldSandbox);
  }

  saveSandbox(held: HeldSandbox): void {
    this.#database.run(
      `INSERT INTO network_sandbox (container_id, held) VALUES (?, ?)
       ON CONFLICT (container_id) DO UPDATE SET held = excluded.held`,
      held.containerId,
      JSON.stringify(held),
    );
  }

  removeSandbox(containerId: string): void {
    this.#database.run("DELETE FROM network_sandbox WHERE container_id = ?", containerId);
  }
}
