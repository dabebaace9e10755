/**
 * How a macvlan or ipvlan network behaves: from `docker network create -o`, with Docker's texts for what makes no sense,
 * and which of them may lie on one parent. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import {
  type ChildKind,
  ipvlanFlags,
  ipvlanModes,
  macvlanModes,
} from "#kernel/netlink/child-link-messages.ts";
import { isInterfaceName } from "#kernel/netlink/link-messages.ts";
import { mtuOf } from "#networks/drivers/bridge-settings.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

export interface ChildLinkSettings {
  child: ChildKind;
  /** Name of the link it lies on. */
  parent: string;
  /** The user named no parent: one that leads nowhere is made. */
  alone: boolean;
  /** Undefined for the parent's. */
  mtu: number | undefined;
  /** Nothing leads out. */
  internal: boolean;
}

/** The drivers whose networks lie on a link of the host's. */
export function isChildDriver(driver: string): driver is "macvlan" | "ipvlan" {
  return driver === "macvlan" || driver === "ipvlan";
}

/** Throws "invalid" for what the driver cannot be asked for. */
export function childLinkSettings(
  record: Pick<NetworkRecord, "id" | "driver" | "config">,
): ChildLinkSettings {
  const { id, config } = record;
  const options = config.options ?? {};
  const child = record.driver === "ipvlan" ? ipvlan(options) : macvlan(options);
  const wanted = options.parent ?? "";
  if (wanted === "lo") throw invalid(`loopback interface is not a valid ${child.kind} parent link`, wanted);
  if (wanted !== "" && !isInterfaceName(wanted)) {
    throw invalid(`invalid parent interface name: ${wanted}`, wanted);
  }
  const alone = wanted === "";
  return {
    child,
    parent: alone ? lonelyParent(child.kind, id) : wanted,
    alone,
    mtu: mtuOf(options),
    internal: alone || (config.internal ?? false),
  };
}

/** What Docker calls the link it makes for a network without a parent. */
function lonelyParent(kind: ChildKind["kind"], id: string): string {
  return `${kind === "macvlan" ? "dm" : "di"}-${id.slice(0, 12)}`;
}

function macvlan(options: Record<string, string>): ChildKind {
  const mode = options.macvlan_mode || "bridge";
  if (isKey(macvlanModes, mode)) return { kind: "macvlan", mode };
  throw invalid(
    `requested macvlan mode '${mode}' is not valid, 'bridge' mode is the macvlan driver default`,
    mode,
  );
}

function ipvlan(options: Record<string, string>): ChildKind {
  const mode = options.ipvlan_mode || "l2";
  if (!isKey(ipvlanModes, mode)) {
    throw invalid(
      `requested ipvlan mode '${mode}' is not valid, 'l2' mode is the ipvlan driver default`,
      mode,
    );
  }
  const flag = options.ipvlan_flag || "bridge";
  if (isKey(ipvlanFlags, flag)) return { kind: "ipvlan", mode, flag };
  throw invalid(`requested ipvlan flag '${flag}' is not valid, 'bridge' is the ipvlan driver default`, flag);
}

function isKey<T extends object>(table: T, key: string): key is keyof T & string {
  return Object.hasOwn(table, key);
}

/**
 * Refuses a second network on one parent where the kernel, or Docker, does: ipvlan shares with nobody, macvlan with
 * macvlan, unless one of them passes the whole link through.
 */
export function checkParent(settings: ChildLinkSettings, others: readonly NetworkRecord[]): void {
  const { child, parent } = settings;
  for (const other of others) {
    if (!isChildDriver(other.driver) || other.config.parent !== parent) continue;
    const beside = childLinkSettings(other).child;
    if (child.kind === "ipvlan" || beside.kind === "ipvlan") {
      const name = lonelyParent(beside.kind, other.id);
      throw taken(`network ${name} is already using parent interface ${parent}`, other);
    }
    if (child.mode === "passthru") {
      throw taken(
        `cannot use mode passthru, macvlan network ${other.id} is already using parent interface ${parent}`,
        other,
      );
    }
    if (beside.mode === "passthru") {
      throw taken(
        `macvlan network ${other.id} is already using parent interface ${parent} in mode passthru`,
        other,
      );
    }
  }
}

/** "eth0.50" → eth0 and 50. Throws "invalid" with Docker's texts for a name that is none of a sub-interface. */
export function parseVlan(name: string): { parent: string; id: number } {
  const [parent = "", text = "", ...rest] = name.split(".");
  if (!name.includes(".")) {
    throw invalid(`invalid subinterface vlan name ${name}, example formatting is eth0.10`, name);
  }
  if (rest.length > 0 || parent === "") {
    throw invalid(
      `required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${name}`,
      name,
    );
  }
  if (!/^\d+$/.test(text)) {
    throw invalid(`unable to parse a valid vlan id from: ${text} (ex. eth0.10 for vlan 10)`, name);
  }
  const id = Number(text);
  if (id < 1 || id > 4094) throw invalid(`vlan id must be between 1-4094, received: ${id}`, name);
  return { parent, id };
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "create network", object });
}

/** Docker answers 500; the words are what scripts match. */
function taken(message: string, other: NetworkRecord): BerthError {
  return new BerthError("internal", message, {
    operation: "create network",
    object: other.name,
    hint: `the network that has it is ${other.name}`,
  });
}
