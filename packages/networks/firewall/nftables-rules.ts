/**
 * The firewall's table of one family in nftables: sets, chains and rules, as messages. Pure.
 *
 * Published ports are elements of two maps, one for ports of a single address and one for those of any, so that one more
 * is one element more and no rule. Which bridge a packet goes to is looked up as well. docs/decisions/0009-the-firewall.md
 */
import {
  CT_DST_NAT,
  CT_ESTABLISHED,
  CT_RELATED,
  connectionHas,
  fieldWithin,
  interfaceBytes,
  interfaceIs,
  jump,
  jumpBy,
  kindIs,
  loadMeta,
  lookUp,
  masquerade,
  toThisHost,
  verdict,
} from "#kernel/netlink/nftables-expressions.ts";
import {
  type BatchMessage,
  deleteTable,
  type Expression,
  fieldIs,
  NF_INET_FORWARD,
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
  newBaseChain,
  newChain,
  newRule,
  newTable,
  protocolIs,
} from "#kernel/netlink/nftables-messages.ts";
import { addElements, newSet, type SetElement } from "#kernel/netlink/nftables-sets.ts";
import {
  type BridgeRules,
  type BridgeState,
  linksOf,
  loopbackOf,
  portsOf,
  translates,
} from "#networks/firewall/desired-rules.ts";
import {
  be16,
  bytesOf,
  destination,
  destinationPort,
  loadPortKey,
  netfilterFamily,
  PORT_SETS,
  PROTOCOLS,
  portLookups,
  portMessages,
  portSets,
  source,
} from "#networks/firewall/nftables-ports.ts";
import { addressBytes, type Family, type Prefix, parseCidr } from "#networks/ipam/prefix.ts";

/** linux/in.h, linux/in6.h */
const ICMP = { 4: 1, 6: 58 } as const;
/** linux/netfilter_ipv4.h */
const PRIORITY = { raw: -300, mangle: -150, destination: -100, filter: 0, source: 100 } as const;

const SETS = {
  bridges: { name: "bridges", id: 11 },
  into: { name: "into", id: 12 },
  outOf: { name: "out-of", id: 13 },
} as const;

/** Makes the table anew with all that is in it, whatever is there; nothing is left where there are no bridges. */
export function tableMessages(table: string, family: Family, states: readonly BridgeState[]): BatchMessage[] {
  const number = netfilterFamily[family];
  // Deleting needs something to delete.
  const cleared = [newTable(number, table), deleteTable(number, table)];
  const bridges = states.flatMap((state) => {
    const rules = state.rules[family];
    return rules === undefined ? [] : [{ state, rules }];
  });
  if (bridges.length === 0) return cleared;
  const chain = (name: string, rules: readonly (readonly Expression[])[]) =>
    rules.map((expressions) => newRule(number, table, name, expressions));
  const base = (name: string, hook: number, priority: number, type: "filter" | "nat") =>
    newBaseChain(number, table, name, { hook, priority }, type);
  const loopback = within(loopbackOf(family));
  return [
    ...cleared,
    newTable(number, table),
    newSet(number, table, { ...SETS.bridges, key: ["interface"] }),
    ...portSets(table, family),
    newSet(number, table, { ...SETS.into, key: ["interface"], data: "verdict" }),
    newSet(number, table, { ...SETS.outOf, key: ["interface"], data: "verdict" }),
    base("loopback", NF_INET_PRE_ROUTING, PRIORITY.raw, "filter"),
    base("arriving", NF_INET_PRE_ROUTING, PRIORITY.destination, "nat"),
    base("from-host", NF_INET_LOCAL_OUT, PRIORITY.destination, "nat"),
    base("leaving", NF_INET_POST_ROUTING, PRIORITY.source, "nat"),
    base("forward", NF_INET_FORWARD, PRIORITY.mangle, "filter"),
    newChain(number, table, "ports"),
    ...bridges.flatMap(({ rules: { bridge, internal } }) => [
      newChain(number, table, intoName(bridge)),
      ...(internal ? [newChain(number, table, outOfName(bridge))] : []),
    ]),
    // route_localnet on the bridges lets replies to 127.0.0.1 through; this keeps requests from coming that way.
    ...chain("loopback", [
      [loadMeta("inputName"), lookUp(SETS.bridges), ...loopback(destination(family)), verdict("drop")],
      [loadMeta("inputName"), lookUp(SETS.bridges), ...loopback(source(family)), verdict("drop")],
    ]),
    ...chain("arriving", [
      // A neighbour's packet for 127.0.0.1 must stay the martian it is.
      [...loopback(destination(family)), verdict("return")],
      [...toThisHost(), jump("ports")],
    ]),
    ...chain("from-host", [
      // ::1 cannot be translated: a program has to answer there.
      ...(family === 6 ? [[...loopback(destination(family)), verdict("return")]] : []),
      [...toThisHost(), jump("ports")],
    ]),
    ...chain("ports", [
      // Addresses of a link go no further than it, so they cannot be translated.
      ...(family === 6 ? [[...within("fe80::/10")(source(family)), verdict("return")]] : []),
      ...portLookups(family),
    ]),
    ...chain(
      "leaving",
      bridges.flatMap(({ rules }) => leaveRules(rules, family)),
    ),
    ...chain("forward", [
      [loadMeta("outputName"), jumpBy(SETS.into)],
      [loadMeta("inputName"), jumpBy(SETS.outOf)],
    ]),
    ...bridges.flatMap(({ state, rules }) => [
      ...chain(intoName(rules.bridge), intoRules(state, rules, family)),
      ...(rules.internal
        ? chain(outOfName(rules.bridge), [
            [...interfaceIs("outputName", rules.bridge, true), verdict("drop")],
          ])
        : []),
    ]),
    ...addElements(
      number,
      table,
      SETS.bridges.name,
      bridges.map(({ rules }) => named(rules)),
    ),
    ...addElements(
      number,
      table,
      SETS.into.name,
      bridges.map(({ rules }) => ({ ...named(rules), data: intoName(rules.bridge) })),
    ),
    ...addElements(
      number,
      table,
      SETS.outOf.name,
      bridges
        .filter(({ rules }) => rules.internal)
        .map(({ rules }) => ({ ...named(rules), data: outOfName(rules.bridge) })),
    ),
    ...portMessages(
      table,
      family,
      bridges.map(({ state, rules }) => ({ rules, gone: [], added: portsOf(state, family) })),
    ),
  ];
}

/**
 * A host that was no router until now does not become one: what goes neither into nor out of a bridge is dropped. In a
 * table of its own, which stays as long as the host routes.
 */
export function routerMessages(table: string, family: Family): BatchMessage[] {
  const number = netfilterFamily[family];
  const name = "forward";
  return [
    newTable(number, table),
    deleteTable(number, table),
    newTable(number, table),
    newBaseChain(number, table, name, { hook: NF_INET_FORWARD, priority: PRIORITY.filter }),
    newRule(number, table, name, [...kindIs("inputKind", "bridge"), verdict("accept")]),
    newRule(number, table, name, [...kindIs("outputKind", "bridge"), verdict("accept")]),
    newRule(number, table, name, [verdict("drop")]),
  ];
}

/** Removes a table, whether or not it is there. */
export function noTable(table: string, family: Family): BatchMessage[] {
  const number = netfilterFamily[family];
  return [newTable(number, table), deleteTable(number, table)];
}

function leaveRules(rules: BridgeRules, family: Family): Expression[][] {
  if (!translates(rules)) return [];
  const { bridge, subnet } = rules;
  const fromSubnet = prefixMatch(source(family), subnet);
  return [
    ...(rules.masquerade ? [[...interfaceIs("outputName", bridge, true), ...fromSubnet, masquerade]] : []),
    // From 127.0.0.1 of the host: the container could not answer that address.
    ...(family === 4
      ? [[...interfaceIs("outputName", bridge), ...within("127.0.0.0/8")(source(family)), masquerade]]
      : []),
    // From a container to a published port of its own network: the answer must come back through the host.
    [...interfaceIs("outputName", bridge), ...fromSubnet, ...connectionHas("status", CT_DST_NAT), masquerade],
  ];
}

/** What may go into a bridge; what gets to the end may not. */
function intoRules(state: BridgeState, rules: BridgeRules, family: Family): Expression[][] {
  const { bridge, icc, internal, gatewayMode } = rules;
  const fromOutside = interfaceIs("inputName", bridge, true);
  const accept = verdict("accept");
  return [
    ...(internal ? [[...fromOutside, verdict("drop")]] : []),
    ...(icc ? [[...interfaceIs("inputName", bridge), accept]] : []),
    ...(gatewayMode === "nat-unprotected" ? [[...fromOutside, accept]] : []),
    [...connectionHas("state", CT_ESTABLISHED | CT_RELATED), accept],
    [...connectionHas("status", CT_DST_NAT), accept],
    ...linksOf(state, family).map((link) => [
      ...interfaceIs("inputName", bridge),
      ...fieldIs(source(family), bytesOf(link.from)),
      ...fieldIs(destination(family), bytesOf(link.to)),
      ...protocolIs(PROTOCOLS[link.protocol]),
      ...fieldIs(destinationPort, be16(link.port)),
      accept,
    ]),
    ...(gatewayMode === "routed"
      ? [
          [...fromOutside, ...loadPortKey(family), lookUp(PORT_SETS.open), accept],
          // Addresses that are routed answer to ping, and to what finds the size of packets.
          [...fromOutside, ...protocolIs(ICMP[family]), accept],
        ]
      : []),
    [verdict("drop")],
  ];
}

function intoName(bridge: string): string {
  return `into-${bridge}`;
}

function outOfName(bridge: string): string {
  return `out-of-${bridge}`;
}

function named({ bridge }: BridgeRules): SetElement {
  return { key: interfaceBytes(bridge) };
}

type Field = ReturnType<typeof source>;

function within(cidr: string): (field: Field) => Expression[] {
  const prefix = parseCidr(cidr)?.prefix;
  if (prefix === undefined) throw new Error(`no prefix: ${cidr}`);
  return (field) => prefixMatch(field, prefix);
}

function prefixMatch(field: Field, { family, first, length }: Prefix): Expression[] {
  return fieldWithin(field, addressBytes({ family, value: first }), length);
}
