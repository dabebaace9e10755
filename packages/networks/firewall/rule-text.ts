/**
 * Changes of the firewall as text for iptables-restore, and whether what is there is what should be. Pure.
 *
 * Docker's chains belong to everybody: what others put there is never touched, and they are made and removed as whole
 * chains only while nobody else uses them. What carries the name of a bridge of ours is ours.
 */
import {
  bridgeChains,
  chainNames,
  portRule,
  sharedChains,
  type Table,
  type TablePart,
  tables,
} from "#networks/firewall/bridge-chains.ts";
import { type BridgeState, loopbackOf, type PortRule } from "#networks/firewall/desired-rules.ts";
import { deletion, type SavedRules } from "#networks/firewall/saved-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/**
 * The text that brings the rules of `whole` to what they should be and removes those of `gone`, whatever is there now;
 * "" if there is nothing to do. Rests on `saved`: where another changes what it names, the text is refused as a whole.
 */
export function changeText(
  family: Family,
  change: { whole: readonly BridgeState[]; gone: readonly string[] },
  saved: SavedRules,
): string {
  const planned = change.whole.flatMap((state) => {
    const chains = bridgeChains(state, family);
    return chains === undefined ? [] : [{ bridge: state.bridge, chains }];
  });
  const touched = [...change.whole.map(({ bridge }) => bridge), ...change.gone];
  const names = touched.flatMap((bridge) => Object.values(chainNames(bridge)));
  return tables
    .map((table) => {
      const parts = planned.map(({ chains }) => chains[table]);
      const kept = new Set(parts.flatMap((part) => Object.keys(part.chains)));
      const stale = names.filter((name) => saved.has(table, name) && !kept.has(name));
      const jumps = saved.jumps(table, names);
      return tableText(table, [
        ...[...kept].map((name) => `:${name} - [0:0]`),
        // Before anything moves: places in chains are as they were saved.
        ...(parts.some((part) => part.jumps.length > 0) ? sharedText(family, table, saved) : []),
        ...jumps.map(deletion),
        ...parts.flatMap((part) => [...contents(part), ...part.jumps.map(({ command }) => command)]),
        ...stale.map((name) => `-F ${name}`),
        ...stale.map((name) => `-X ${name}`),
        ...(kept.size === 0 ? unusedText(table, saved, names) : []),
      ]);
    })
    .join("");
}

/** The text that fills the chains that depend on published ports anew, all at once, and touches nothing else. */
export function portsText(states: readonly BridgeState[], family: Family): string {
  return tables
    .map((table) => {
      const parts = states.flatMap((state) => {
        const rules = state.rules[family];
        const part = bridgeChains(state, family)?.[table];
        if (rules === undefined || part === undefined) return [];
        const names = chainNames(state.bridge);
        const wanted =
          rules.gatewayMode === "routed"
            ? { mangle: names.guard, filter: names.forward }
            : { nat: names.ports };
        const chain = (wanted as Partial<Record<Table, string>>)[table];
        const lines = chain === undefined ? undefined : part.chains[chain];
        return chain === undefined || lines === undefined
          ? []
          : [[`:${chain} - [0:0]`, ...lines.map((line) => `-A ${chain} ${line}`)]];
      });
      return tableText(table, parts.flat());
    })
    .join("");
}

/** The text that adds ports to those a bridge has. */
export function addedText(added: readonly { bridge: string; port: PortRule }[]): string {
  return tableText(
    "nat",
    added.map(({ bridge, port }) => `-A ${chainNames(bridge).ports} ${portRule(port)}`),
  );
}

/** Is everything there? Looks at what a flush, a restored file or another engine's start takes away. */
export function isIntact(states: readonly BridgeState[], family: Family, saved: SavedRules): boolean {
  const counts = new Map<string, number>();
  const count = (key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { table, chain, target } of saved.rules) {
    count(`${table} ${chain}`);
    if (target !== undefined) count(`${table} ${chain} ${target}`);
  }
  return states.every((state) =>
    Object.entries(bridgeChains(state, family) ?? {}).every(
      ([table, part]) =>
        Object.entries(part.chains).every(
          ([chain, rules]) =>
            saved.has(table, chain) && (counts.get(`${table} ${chain}`) ?? 0) === rules.length,
        ) &&
        part.jumps.every(
          ({ from, to }) =>
            (counts.get(`${table} ${from} ${to}`) ?? 0) ===
            part.jumps.filter((other) => other.from === from && other.to === to).length,
        ) &&
        (part.jumps.length === 0 || sharedText(family, table as Table, saved).length === 0),
    ),
  );
}

function contents(part: TablePart): string[] {
  return Object.entries(part.chains).flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`));
}

/**
 * Makes what is missing of Docker's chains and of the jumps to them. A chain is made by -N, which is refused where
 * another has made it meanwhile; naming it with a colon would empty it.
 */
function sharedText(family: Family, table: Table, saved: SavedRules): string[] {
  const { ports, forward, user } = sharedChains;
  const made = (name: string) => (saved.has(table, name) ? [] : [`-N ${name}`]);
  const leads = (from: string, to: string) => saved.of(table, from).some(({ target }) => target === to);
  if (table === "nat") {
    const local = `-m addrtype --dst-type LOCAL -j ${ports}`;
    return [
      ...made(ports),
      ...(leads("PREROUTING", ports) ? [] : [`-A PREROUTING ${local}`]),
      ...(leads("OUTPUT", ports) ? [] : [`-A OUTPUT ! -d ${loopbackOf(family)} ${local}`]),
    ];
  }
  if (table !== "filter") return [];
  // The user's chain comes first, and Docker's right behind it.
  const place = saved.of(table, "FORWARD").findIndex(({ target }) => target === user) + 1;
  return [
    ...made(user),
    ...(saved.has(table, user) ? [] : [`-A ${user} -j RETURN`]),
    ...made(forward),
    ...(leads("FORWARD", forward) ? [] : [`-I FORWARD ${place + 1} -j ${forward}`]),
    ...(place > 0 ? [] : [`-I FORWARD 1 -j ${user}`]),
  ];
}

/** Removes Docker's chain of a table once nothing is in it but jumps to `names`, and no dockerd is there. */
function unusedText(table: Table, saved: SavedRules, names: readonly string[]): string[] {
  const chain = table === "nat" ? sharedChains.ports : table === "filter" ? sharedChains.forward : undefined;
  // dockerd always has its chain in filter, whichever version, and expects its others to be there with it.
  if (chain === undefined || !saved.has(table, chain) || saved.has("filter", "DOCKER")) return [];
  const others = saved
    .of(table, chain)
    .filter(({ target }) => target === undefined || !names.includes(target));
  if (others.length > 0) return [];
  return [...saved.jumps(table, [chain]).map(deletion), `-X ${chain}`];
}

function tableText(table: Table, lines: readonly string[]): string {
  return lines.length === 0 ? "" : [`*${table}`, ...lines, "COMMIT\n"].join("\n");
}
