/**
 * The iptables rules of one bridge, as text for iptables-restore. Pure.
 *
 * Every chain carries the bridge's name, so that several daemons, and another engine, keep out of one another's way:
 * what is not named after our bridge is never touched. Why these chains and not another engine's:
 * docs/decisions/firewall-chains.md.
 */
import { formatAddress, formatPrefix, type Prefix, parseAddress } from "#networks/ipam/prefix.ts";

export interface BridgeRules {
  bridge: string;
  subnet: Prefix;
  /** Containers leave with the host's address. */
  masquerade: boolean;
  /** May containers of the bridge talk to one another? */
  icc: boolean;
  /** Nothing passes in or out. */
  internal: boolean;
}

/** One published port: what arrives at the host for one goes to the other. */
export interface PortRule {
  protocol: "tcp" | "udp" | "sctp";
  /** "0.0.0.0" for all addresses of the host. */
  hostIp: string;
  hostPort: number;
  containerIp: string;
  containerPort: number;
}

type Table = "raw" | "mangle" | "nat" | "filter";

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

/**
 * Interfaces of other engines. What goes there is for their rules to judge, so our "let it out" must not decide it.
 */
const foreignBridges = ["docker+", "br-+"];

/**
 * The text that brings the rules of a bridge to what they should be, whatever is there now.
 * `saved` is what iptables-save prints; rules of ours in the built-in chains are taken out before they are put in.
 */
export function installText(rules: BridgeRules, ports: readonly PortRule[], saved: string): string {
  const names = chainNames(rules.bridge);
  const { bridge } = rules;
  const subnet = formatPrefix(rules.subnet);
  const existing = parseSaved(saved);
  const userChain = existing.chains.has("filter DOCKER-USER");
  const loopback = rules.subnet.family === 4 ? "127.0.0.0/8" : "::1/128";
  const tables: Partial<Record<Table, { chains: string[]; rules: string[]; jumps: string[] }>> = {
    raw: {
      chains: [names.guard],
      // route_localnet on the bridge lets replies to 127.0.0.1 through; this keeps requests from coming that way.
      rules: [`-A ${names.guard} -d ${loopback} -j DROP`, `-A ${names.guard} -s ${loopback} -j DROP`],
      jumps: [`-I PREROUTING -i ${bridge} -j ${names.guard}`],
    },
    mangle: {
      chains: [names.guard],
      // Before the filter table, where the order of chains is anybody's: only what was published gets in.
      rules: [
        ...(rules.internal
          ? [`-A ${names.guard} ! -i ${bridge} -j DROP`, `-A ${names.guard} ! -o ${bridge} -j DROP`]
          : []),
        `-A ${names.guard}${rules.icc ? ` ! -i ${bridge}` : ""} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
      ],
      jumps: [
        `-I FORWARD -o ${bridge} -j ${names.guard}`,
        ...(rules.internal ? [`-I FORWARD -i ${bridge} ! -o ${bridge} -j ${names.guard}`] : []),
      ],
    },
    // What has no way out has nothing to translate.
    ...(!rules.internal && {
      nat: {
        chains: [names.ports, names.leave],
        rules: [...portRules(bridge, ports), ...leaveRules(rules, subnet)],
        jumps: [
          // A neighbour's packet for 127.0.0.1 must stay the martian it is.
          `-A PREROUTING ! -d ${loopback} -m addrtype --dst-type LOCAL -j ${names.ports}`,
          `-A OUTPUT -m addrtype --dst-type LOCAL -j ${names.ports}`,
          `-A POSTROUTING -j ${names.leave}`,
        ],
      },
    }),
    filter: {
      chains: [names.forward, ...(userChain ? [] : ["DOCKER-USER"])],
      rules: [
        ...(userChain ? [] : ["-A DOCKER-USER -j RETURN"]),
        `-A ${names.forward} ! -i ${bridge} ! -o ${bridge} -j RETURN`,
        `-A ${names.forward} -j DOCKER-USER`,
        `-A ${names.forward} -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT`,
        `-A ${names.forward} -i ${bridge} -o ${bridge} -j ${rules.icc ? "ACCEPT" : "DROP"}`,
        ...foreignBridges.map((other) => `-A ${names.forward} -i ${bridge} -o ${other} -j RETURN`),
        `-A ${names.forward} -i ${bridge} ! -o ${bridge} -j ACCEPT`,
      ],
      jumps: [`-I FORWARD -j ${names.forward}`],
    },
  };
  return Object.entries(tables)
    .map(([table, { chains, rules: lines, jumps }]) =>
      [
        `*${table}`,
        ...chains.map((chain) => `:${chain} - [0:0]`),
        ...existing.jumps(table, Object.values(names)).map(deletion),
        ...lines,
        ...jumps,
        "COMMIT\n",
      ].join("\n"),
    )
    .join("");
}

/** The text that replaces the published ports of a bridge, all at once, and touches nothing else. */
export function portsText(bridge: string, ports: readonly PortRule[]): string {
  return ["*nat", `:${chainNames(bridge).ports} - [0:0]`, ...portRules(bridge, ports), "COMMIT\n"].join("\n");
}

/** The text that removes every rule and chain of a bridge; "" if there is none. */
export function removalText(bridge: string, saved: string): string {
  const names = Object.values(chainNames(bridge));
  const existing = parseSaved(saved);
  return (["raw", "mangle", "nat", "filter"] as const)
    .map((table) => {
      const chains = names.filter((name) => existing.chains.has(`${table} ${name}`));
      if (chains.length === 0) return "";
      return [
        `*${table}`,
        ...existing.jumps(table, names).map(deletion),
        ...chains.map((chain) => `-F ${chain}`),
        ...chains.map((chain) => `-X ${chain}`),
        "COMMIT\n",
      ].join("\n");
    })
    .join("");
}

function portRules(bridge: string, ports: readonly PortRule[]): string[] {
  return ports.map((port) => {
    const everywhere = isUnspecified(port.hostIp);
    const destination = everywhere ? "" : ` -d ${port.hostIp}/32`;
    return (
      `-A ${chainNames(bridge).ports}${destination} -p ${port.protocol} -m ${port.protocol} --dport ${port.hostPort}` +
      ` -j DNAT --to-destination ${port.containerIp}:${port.containerPort}`
    );
  });
}

function leaveRules({ bridge, masquerade, subnet: { family } }: BridgeRules, subnet: string): string[] {
  const chain = chainNames(bridge).leave;
  return [
    ...(masquerade ? [`-A ${chain} -s ${subnet} ! -o ${bridge} -j MASQUERADE`] : []),
    // From 127.0.0.1 of the host: the container could not answer that address.
    ...(family === 4 ? [`-A ${chain} -s 127.0.0.0/8 -o ${bridge} -j MASQUERADE`] : []),
    // From a container to a published port of its own network: the answer must come back through the host.
    `-A ${chain} -s ${subnet} -o ${bridge} -m conntrack --ctstate DNAT -j MASQUERADE`,
  ];
}

function isUnspecified(hostIp: string): boolean {
  const address = parseAddress(hostIp);
  return address === undefined || formatAddress(address) === "0.0.0.0";
}

/** "-A FORWARD …" as iptables-save prints it, turned into its removal. */
function deletion(rule: string): string {
  return rule.replace(/^-A /, "-D ");
}

interface SavedRules {
  /** "nat BERTH-berth0": table and name. */
  chains: Set<string>;
  /** Rules of a table's built-in chains that jump to one of these. */
  jumps(table: string, targets: readonly string[]): string[];
}

function parseSaved(saved: string): SavedRules {
  const chains = new Set<string>();
  const rules: { table: string; line: string; chain: string; target: string }[] = [];
  let table = "";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1).trim();
    else if (line.startsWith(":")) chains.add(`${table} ${line.slice(1).split(" ")[0]}`);
    else {
      const rule = /^-A (\S+)(?: .*)? -j (\S+)$/.exec(line.trim());
      if (rule?.[1] !== undefined && rule[2] !== undefined) {
        rules.push({ table, line: line.trim(), chain: rule[1], target: rule[2] });
      }
    }
  }
  return {
    chains,
    jumps: (wanted, targets) =>
      rules
        .filter((rule) => rule.table === wanted && targets.includes(rule.target))
        .filter((rule) => !targets.includes(rule.chain))
        .map((rule) => rule.line),
  };
}
