/**
 * Published ports in nftables: the sets they are elements of, the rules that look them up, and the fields of packets that
 * this is about. Pure.
 */
import { loadField, loadMeta, lookUp, REGISTER, translateTo } from "#kernel/netlink/nftables-expressions.ts";
import {
  type BatchMessage,
  type Expression,
  NETWORK_HEADER,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  TRANSPORT_HEADER,
} from "#kernel/netlink/nftables-messages.ts";
import {
  addElements,
  type FieldName,
  joined,
  newSet,
  removeElements,
  type SetElement,
} from "#kernel/netlink/nftables-sets.ts";
import {
  type BridgeRules,
  isUnspecified,
  type PortRule,
  translates,
} from "#networks/firewall/desired-rules.ts";
import { addressBytes, type Family, parseAddress } from "#networks/ipam/prefix.ts";

/** linux/in.h */
export const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

export const netfilterFamily = { 4: NFPROTO_IPV4, 6: NFPROTO_IPV6 } as const;
const addressType: Readonly<Record<Family, FieldName>> = { 4: "ipv4", 6: "ipv6" };
/** Registers an address takes. */
const addressRegisters = { 4: 1, 6: 4 } as const;
/** Behind the longest key. */
const DATUM = REGISTER + 8;

export const PORT_SETS = {
  /** Ports published on one address: where they lead. */
  at: { name: "published-at", id: 1 },
  /** Ports published on all addresses. */
  any: { name: "published", id: 2 },
  /** Container ports of routed networks that are open. */
  open: { name: "open", id: 3 },
} as const;

type PortSet = keyof typeof PORT_SETS;

export const source = (family: Family) => ({ base: NETWORK_HEADER, ...(family === 4 ? v4(12) : v6(8)) });
export const destination = (family: Family) => ({
  base: NETWORK_HEADER,
  ...(family === 4 ? v4(16) : v6(24)),
});
const v4 = (offset: number) => ({ offset, length: 4 });
const v6 = (offset: number) => ({ offset, length: 16 });
export const destinationPort = { base: TRANSPORT_HEADER, offset: 2, length: 2 };

/** Makes the sets, empty. */
export function portSets(table: string, family: Family): BatchMessage[] {
  const number = netfilterFamily[family];
  const address = addressType[family];
  const key = ["protocol", address, "port"] as const;
  const data = [address, "port"] as const;
  return [
    newSet(number, table, { ...PORT_SETS.at, key, data }),
    newSet(number, table, { ...PORT_SETS.any, key: ["protocol", "port"], data }),
    newSet(number, table, { ...PORT_SETS.open, key }),
  ];
}

/** Published ports that come and go, and nothing else. */
export function portMessages(
  table: string,
  family: Family,
  changes: readonly { rules: BridgeRules; gone: readonly PortRule[]; added: readonly PortRule[] }[],
): BatchMessage[] {
  const number = netfilterFamily[family];
  const gone: Record<PortSet, SetElement[]> = { at: [], any: [], open: [] };
  const added: Record<PortSet, Map<string, SetElement>> = { at: new Map(), any: new Map(), open: new Map() };
  for (const change of changes) {
    for (const port of change.gone) {
      const found = elementOf(change.rules, port);
      if (found !== undefined) gone[found.set].push(found);
    }
    for (const port of change.added) {
      const found = elementOf(change.rules, port);
      if (found !== undefined) added[found.set].set(Buffer.from(found.key).toString("hex"), found);
    }
  }
  const sets = ["at", "any", "open"] as const;
  return [
    ...sets.flatMap((set) => removeElements(number, table, PORT_SETS[set].name, gone[set])),
    ...sets.flatMap((set) => addElements(number, table, PORT_SETS[set].name, [...added[set].values()])),
  ];
}

function elementOf(rules: BridgeRules, port: PortRule): (SetElement & { set: PortSet }) | undefined {
  const protocol = Uint8Array.of(PROTOCOLS[port.protocol]);
  const container = bytesOf(port.containerIp);
  if (rules.gatewayMode === "routed") {
    return { set: "open", key: joined(protocol, container, be16(port.containerPort)) };
  }
  if (!translates(rules)) return undefined;
  const data = joined(container, be16(port.containerPort));
  if (isUnspecified(port.hostIp)) return { set: "any", key: joined(protocol, be16(port.hostPort)), data };
  return { set: "at", key: joined(protocol, bytesOf(port.hostIp), be16(port.hostPort)), data };
}

/** Rules that give a connection to a published port its destination. Fields of keys are in the order of `elementOf`. */
export function portLookups(family: Family): Expression[][] {
  const registers = addressRegisters[family];
  const toDatum = translateTo(netfilterFamily[family], DATUM, DATUM + registers);
  return [
    [...loadPortKey(family), lookUp(PORT_SETS.at, DATUM), toDatum],
    [
      loadMeta("protocol", REGISTER),
      loadField(destinationPort, REGISTER + 1),
      lookUp(PORT_SETS.any, DATUM),
      toDatum,
    ],
  ];
}

/** Protocol, destination and its port. */
export function loadPortKey(family: Family): Expression[] {
  return [
    loadMeta("protocol", REGISTER),
    loadField(destination(family), REGISTER + 1),
    loadField(destinationPort, REGISTER + 1 + addressRegisters[family]),
  ];
}

export function bytesOf(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`no address: ${text}`);
  return addressBytes(address);
}

export function be16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
