/**
 * The chains of one bridge in iptables: their names, their rules, and the rules that lead to them. Pure.
 *
 * Every chain carries the bridge's name, so that several daemons, and another engine, keep out of one another's way.
 * Why these chains and not another engine's: docs/decisions/0009-the-firewall.md.
 */
import {
  type BridgeRules,
  type BridgeState,
  isUnspecified,
  type LinkRule,
  linksOf,
  loopbackOf,
  type PortRule,
  portsOf,
  translates,
} from "#networks/firewall/desired-rules.ts";
import { type Family, formatPrefix } from "#networks/ipam/prefix.ts";

export const tables = ["raw", "mangle", "nat", "filter"] as const;
export type Table = (typeof tables)[number];

/** What a bridge has in one table. */
export interface TablePart {
  /** Rules by chain, without "-A <chain>". */
  chains: Record<string, string[]>;
  /** What leads there, from chains that are not ours alone; as commands. */
  jumps: { from: string; to: string; command: string }[];
}

/** Names of a bridge's chains; iptables takes 28 characters, a bridge has at most 15. */
export function chainNames(bridge: string) {
  return {
    /** nat: published ports. */
    ports: `BERTH-${bridge}`,
    /** nat: masquerading. */
    leave: `BERTH-POST-${bridge}`,
    /** filter: what is let through. */
    forward: `BERTH-FWD-${bridge}`,
    /** raw and mangle: what is never let through. */
    guard: `BERTH-GUARD-${bridge}`,
  };
}

/** Docker's chains that lead to ours. */
export const sharedChains = { ports: "DOCKER", forward: "DOCKER-FORWARD", user: "DOCKER-USER" } as const;

/**
 * Interfaces of other engines. What goes there is for their rules to judge, so our "let it out" must not decide it.
 */
const foreignBridges = ["docker+", "br-+"];

const toThisHost = "-m addrtype --dst-type LOCAL";

/** Everything a bridge has in one family; undefined where it has no part in that family. */
export function bridgeChains(state: BridgeState, family: Family): Record<Table, TablePart> | undefined {
  const rules = state.rules[family];
  if (rules === undefined) return undefined;
  const { bridge, internal } = rules;
  const names = chainNames(bridge);
  const loopback = loopbackOf(family);
  const jump = (from: string, to: string, match = "", verb = "-I") => ({
    from,
    to,
    command: `${verb} ${from}${match} -j ${to}`,
  });
  return {
    raw: {
      // route_localnet on the bridge lets replies to 127.0.0.1 through; this keeps requests from coming that way.
      chains: { [names.guard]: [`-d ${loopback} -j DROP`, `-s ${loopback} -j DROP`] },
      jumps: [jump("PREROUTING", names.guard, ` -i ${bridge}`)],
    },
    mangle: {
      // Before the filter table, where the order of chains is anybody's: only what is open gets in.
      chains: { [names.guard]: guardRules(state, rules, family) },
      jumps: [
        jump("FORWARD", names.guard, ` -o ${bridge}`),
        ...(internal ? [jump("FORWARD", names.guard, ` -i ${bridge} ! -o ${bridge}`)] : []),
      ],
    },
    nat: translates(rules)
      ? {
          chains: {
            [names.ports]: [...portsHead(family), ...portsOf(state, family).map(portRule)],
            [names.leave]: leaveRules(rules),
          },
          jumps: [
            // A neighbour's packet for 127.0.0.1 must stay the martian it is; ::1 cannot be translated at all.
            jump(sharedChains.ports, names.ports, ` ! -d ${loopback}`),
            // Another engine empties that chain when it starts, and returns from it early: for then there are these.
            jump("PREROUTING", names.ports, ` ! -d ${loopback} ${toThisHost}`, "-A"),
            jump("OUTPUT", names.ports, `${family === 4 ? "" : ` ! -d ${loopback}`} ${toThisHost}`, "-A"),
            jump("POSTROUTING", names.leave, "", "-A"),
          ],
        }
      : { chains: {}, jumps: [] },
    filter: {
      chains: { [names.forward]: forwardRules(state, rules, family) },
      jumps: [jump(sharedChains.forward, names.forward, "", "-A")],
    },
  };
}

/** Rules in front of the published ports: addresses of one link go no further than it, so they cannot be translated. */
export function portsHead(family: Family): string[] {
  return family === 4 ? [] : ["-s fe80::/10 -j RETURN"];
}

export function portRule(port: PortRule): string {
  const six = port.containerIp.includes(":");
  const destination = isUnspecified(port.hostIp) ? "" : `-d ${port.hostIp}/${six ? 128 : 32} `;
  const to = six ? `[${port.containerIp}]` : port.containerIp;
  return (
    `${destination}-p ${port.protocol} -m ${port.protocol} --dport ${port.hostPort}` +
    ` -j DNAT --to-destination ${to}:${port.containerPort}`
  );
}

function guardRules(state: BridgeState, rules: BridgeRules, family: Family): string[] {
  const { bridge, icc, internal, gatewayMode } = rules;
  // What is judged: all that comes in; without icc, what stays within the bridge as well.
  const judged = icc ? ` ! -i ${bridge}` : gatewayMode === "nat-unprotected" ? ` -i ${bridge}` : "";
  const protects = !icc || gatewayMode !== "nat-unprotected";
  return [
    ...(internal ? [`! -i ${bridge} -j DROP`, `! -o ${bridge} -j DROP`] : []),
    ...linksOf(state, family).map((link) => linkRule(bridge, link, "RETURN")),
    ...openRules(state, rules, family, "RETURN"),
    ...(protects
      ? [`${judged.trimStart()} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`.trimStart()]
      : []),
  ];
}

function forwardRules(state: BridgeState, rules: BridgeRules, family: Family): string[] {
  const { bridge, icc } = rules;
  return [
    `! -i ${bridge} ! -o ${bridge} -j RETURN`,
    `-o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT`,
    ...openRules(state, rules, family, "ACCEPT"),
    ...linksOf(state, family).map((link) => linkRule(bridge, link, "ACCEPT")),
    `-i ${bridge} -o ${bridge} -j ${icc ? "ACCEPT" : "DROP"}`,
    ...foreignBridges.map((other) => `-i ${bridge} -o ${other} -j RETURN`),
    `-i ${bridge} ! -o ${bridge} -j ACCEPT`,
  ];
}

/** What a gateway mode opens to the world beyond translated connections. */
function openRules(state: BridgeState, rules: BridgeRules, family: Family, verdict: string): string[] {
  const { bridge, internal, gatewayMode } = rules;
  if (internal || gatewayMode === undefined || gatewayMode === "nat") return [];
  const inward = `! -i ${bridge} -o ${bridge}`;
  if (gatewayMode === "nat-unprotected") return verdict === "ACCEPT" ? [`${inward} -j ACCEPT`] : [];
  const bits = family === 4 ? 32 : 128;
  return [
    ...portsOf(state, family).map(
      ({ containerIp, protocol, containerPort }) =>
        `-d ${containerIp}/${bits} ${inward} -p ${protocol} -m ${protocol} --dport ${containerPort} -j ${verdict}`,
    ),
    // Addresses that are routed answer to ping, and to what finds the size of packets.
    `${inward} -p ${family === 4 ? "icmp" : "ipv6-icmp"} -j ${verdict}`,
  ];
}

function linkRule(bridge: string, { from, to, protocol, port }: LinkRule, verdict: string): string {
  const bits = to.includes(":") ? 128 : 32;
  return `-s ${from}/${bits} -d ${to}/${bits} -i ${bridge} -o ${bridge} -p ${protocol} -m ${protocol} --dport ${port} -j ${verdict}`;
}

function leaveRules({ bridge, masquerade, subnet }: BridgeRules): string[] {
  const addresses = formatPrefix(subnet);
  return [
    ...(masquerade ? [`-s ${addresses} ! -o ${bridge} -j MASQUERADE`] : []),
    // From 127.0.0.1 of the host: the container could not answer that address.
    ...(subnet.family === 4 ? [`-s 127.0.0.0/8 -o ${bridge} -j MASQUERADE`] : []),
    // From a container to a published port of its own network: the answer must come back through the host.
    `-s ${addresses} -o ${bridge} -m conntrack --ctstate DNAT -j MASQUERADE`,
  ];
}
