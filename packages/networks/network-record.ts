/**
 * What the database keeps of networks and of what containers hold: rows in, values out.
 */
import { randomBytes } from "node:crypto";
import type { EndpointSettings, IpamConfig, PortBinding } from "#api-types/network.ts";
import type { LinkRule } from "#networks/firewall/desired-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";
import type { Database } from "#state/database.ts";

export interface NetworkRecord {
  /** 64 hexadecimal digits, for ever the same. */
  id: string;
  name: string;
  /** "bridge", "host", "null", "macvlan", "ipvlan", or the name of a plugin. */
  driver: string;
  created: string;
  config: NetworkConfig;
}

/** What a network was asked to be, and what it got. Of the default networks, the default bridge alone has any of it. */
export interface NetworkConfig {
  /** Name of the bridge's interface. */
  bridge?: string;
  /** The interface was there before: it stays when the network goes. */
  foundBridge?: boolean;
  /** "172.17.0.0/16" */
  subnet?: string;
  gateway?: string;
  /** The part of the subnet addresses come from. */
  range?: string;
  /** Addresses never given out, by what their users call them. */
  reserved?: Record<string, string>;
  /** The same for IPv6; undefined for a network without. */
  ipv6?: RecordedPool;
  /** Further pools, of either family; bridges have none. */
  morePools?: RecordedPool[];
  /** The user chose the subnet: only then addresses may be asked for by number. */
  chosenSubnet?: boolean;
  chosenSubnet6?: boolean;
  labels?: Record<string, string>;
  options?: Record<string, string>;
  ipamOptions?: Record<string, string> | null;
  internal?: boolean;
  attachable?: boolean;
  /** "local" where the user named none. */
  scope?: string;
  /** Of the addresses; "default" where undefined. */
  ipamDriver?: string;
  /** A driver of addresses that is a plugin: its names of the pools, and of the space they are in. */
  ipamPools?: { ipv4?: string; ipv6?: string };
  ipamSpace?: string;
  /** The link of the host's that a macvlan or ipvlan network lies on. */
  parent?: string;
  /** That link was made for the network, and goes with the last network on it. */
  madeParent?: boolean;
  /** Nothing but the configuration of other networks: what they were asked to be. */
  template?: NetworkTemplate;
  /** Its removal has begun: whoever finds it so finishes that. */
  leaving?: boolean;
  /** Name of the network whose template this one was made of. */
  configFrom?: string;
}

/** An address pool as it is written down: "10.1.0.0/16", its gateway and so on. */
export interface RecordedPool {
  subnet: string;
  /** Undefined where nothing leads out, and then nothing is reserved for it. */
  gateway?: string;
  range?: string;
  reserved?: Record<string, string>;
}

/** What a configuration-only network gives to others, beside labels and options. */
export interface NetworkTemplate {
  ipam: readonly IpamConfig[];
  enableIpv4: boolean;
  enableIpv6: boolean;
}

/** An endpoint as it is held: what inspect shows, and how it is attached. */
export interface HeldLink {
  /** The link on the host's side; "" where there is none. */
  veth: string;
  /** Name inside: "eth0". */
  name: string;
  /** Index inside. */
  index: number;
  /** Families whose default route is the link itself. */
  onLink?: readonly Family[];
  /** What it was called on the host, where it goes back to when the container leaves the network. */
  former?: string;
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
  /** Name of the network the ports are published on; it gives the default route. "" for none. */
  publishedOn: string;
  /** The links, by name of the network. */
  links: Record<string, HeldLink>;
  /** Whom it may connect to on the default bridge, by `--link`; undefined for nobody. */
  permits?: LinkRule[];
  /**
   * Where its questions go that are not about containers, whether these are the host's own servers (and not the user's),
   * whether names without a dot stay here, and whether it has, or had, networks whose names it asks our server for: its
   * programs may remember that server for as long as they run.
   */
  resolver: { servers: string[]; hostServers: boolean; keepsShortNames: boolean; embedded: boolean };
  /** Name of the network it is joining or leaving at the moment; the next daemon takes it off, if this one is killed. */
  changing?: string;
}

/** An id as Docker makes them. */
export function randomId(): string {
  return randomBytes(32).toString("hex");
}

type NetworkRow = Omit<NetworkRecord, "config"> & { config: string };

/** A row that could not be read: where it is kept, and what is in its place. */
export interface DamagedRow {
  kind: "network" | "sandbox";
  name: string;
  reason: string;
  kept: string;
  replaced: "from the backup" | "removed";
}
export type DamageListener = (damaged: DamagedRow) => void;

function parseObject<T extends object>(text: string): T {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("it is no JSON object");
  return value as T;
}

export class NetworkRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** A damaged row comes from the backup, or is set aside and gone: `onDamage` is told. */
  networks(onDamage: DamageListener): NetworkRecord[] {
    return this.#database.all<NetworkRow>("SELECT * FROM network ORDER BY name").flatMap((row) => {
      try {
        return [{ ...row, config: parseObject<NetworkConfig>(row.config) }];
      } catch (cause) {
        const reason = String(cause);
        const kept = this.#database.setAside("network", row.name, reason, { ...row });
        const saved = this.#networkFromBackup(row.id);
        onDamage({
          kind: "network",
          name: row.name,
          reason,
          kept,
          replaced: saved ? "from the backup" : "removed",
        });
        if (saved === undefined) this.removeNetwork(row.id);
        else this.saveNetwork(saved);
        return saved === undefined ? [] : [saved];
      }
    });
  }

  #networkFromBackup(id: string): NetworkRecord | undefined {
    const row = this.#database.fromBackup<NetworkRow>("SELECT * FROM network WHERE id = ?", id);
    try {
      return row && { ...row, config: parseObject<NetworkConfig>(row.config) };
    } catch {
      return undefined;
    }
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

  /** A damaged row stays for the time being: what its container has must not be given to others. `onDamage` is told. */
  sandboxes(onDamage: DamageListener): HeldSandbox[] {
    const rows = this.#database.all<{ container_id: string; held: string }>("SELECT * FROM network_sandbox");
    return rows.flatMap((row) => {
      try {
        const held = parseObject<HeldSandbox & { veths?: string[] }>(row.held);
        for (const field of ["endpoints", "ports"] as const)
          if (typeof held[field] !== "object") throw new Error(`its ${field} are missing`);
        return [withLinks(held)];
      } catch (cause) {
        const reason = String(cause);
        const kept = this.#database.setAside("sandbox", row.container_id, reason, { ...row });
        onDamage({ kind: "sandbox", name: row.container_id, reason, kept, replaced: "removed" });
        return [];
      }
    });
  }

  /** Its addresses go with it. */
  removeNetwork(id: string): void {
    this.#database.durably(() =>
      this.#database.transaction(() => {
        this.#database.run("DELETE FROM network_address WHERE network_id = ?", id);
        this.#database.run("DELETE FROM network_plugin_holding WHERE network_id = ?", id);
        this.#database.run("DELETE FROM network WHERE id = ?", id);
      }),
    );
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

/** Rows of a daemon that knew one network a container. */
function withLinks(held: HeldSandbox & { veths?: string[] }): HeldSandbox {
  if (held.links !== undefined) return held;
  const { veths = [], ...rest } = held;
  const [name = ""] = Object.keys(held.endpoints);
  const [veth] = veths;
  return {
    ...rest,
    publishedOn: held.published.length > 0 ? name : "",
    links: veth === undefined ? {} : { [name]: { veth, name: "eth0", index: 16 } },
    resolver: { servers: [], hostServers: true, keepsShortNames: false, embedded: false },
  };
}
