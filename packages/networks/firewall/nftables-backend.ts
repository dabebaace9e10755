/**
 * The firewall by nftables: a table of our own in each family, changed by netlink messages of this process. No program
 * is started.
 *
 * Ports that come and go are elements of maps. Everything else makes the tables anew, both in one batch, which the kernel
 * takes as a whole or not at all.
 */
import { createHash } from "node:crypto";
import { BerthError } from "#errors/errors.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import {
  type BatchMessage,
  batch,
  dumpRules,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  parseRuleHandle,
} from "#kernel/netlink/nftables-messages.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { type BridgeState, familyOf, type PortRule } from "#networks/firewall/desired-rules.ts";
import type { FirewallBackend, FirewallChange } from "#networks/firewall/firewall-backend.ts";
import { portMessages } from "#networks/firewall/nftables-ports.ts";
import { noTable, routerMessages, tableMessages } from "#networks/firewall/nftables-rules.ts";
import { RuleSetWatch } from "#networks/firewall/rule-set-watch.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/** The table that keeps a host from routing for everybody; daemons side by side share it. */
const ROUTER_TABLE = "berth-no-router";
/** Batches above this are worked on by the kernel off the event loop, bytes. */
const LONG_BATCH = 4096;

export class NftablesBackend implements FirewallBackend {
  readonly #table: string;
  readonly #families: readonly Family[];
  readonly #watch = new RuleSetWatch();
  readonly #netlink = new NetlinkSocket(NETLINK_NETFILTER);
  /** What is in the kernel, as far as is known. */
  readonly #applied = new Map<string, BridgeState>();
  /** Numbers of the table's rules as they were made. */
  #handles = "";

  /** `families`: those that may be touched at all. */
  constructor(table: string, families: readonly Family[]) {
    this.#table = table;
    this.#families = families;
  }

  async apply({ whole, ports, gone }: FirewallChange): Promise<void> {
    const rebuilt = whole.length > 0 || gone.length > 0;
    const changes = rebuilt ? undefined : ports.map((state) => this.#portsChange(state));
    for (const state of [...whole, ...ports]) this.#applied.set(state.bridge, state);
    for (const { bridge } of gone) this.#applied.delete(bridge);
    if (changes !== undefined && !changes.includes(undefined)) {
      const messages = this.#families.flatMap((family) =>
        portMessages(
          this.#table,
          family,
          changes.flatMap((change) => change?.(family) ?? []),
        ),
      );
      if ((await this.#send(messages)) === 0) return;
      // What it rests on is not there any more: then all of it is made anew.
    }
    const states = [...this.#applied.values()];
    const errno = await this.#send(
      this.#families.flatMap((family) => tableMessages(this.#table, family, states)),
    );
    if (errno !== 0) throw refused(this.#table, errno);
    this.#handles = this.#readHandles();
  }

  /** What has come and gone since the state that is in the kernel; undefined where that is not known. */
  #portsChange(after: BridgeState) {
    const before = this.#applied.get(after.bridge);
    if (before === undefined) return undefined;
    const { gone, added } = difference(before.ports, after.ports);
    return (family: Family) => {
      const rules = after.rules[family];
      const own = (port: PortRule) => familyOf(port.containerIp) === family;
      return rules === undefined ? [] : [{ rules, gone: gone.filter(own), added: added.filter(own) }];
    };
  }

  async #send(messages: readonly BatchMessage[]): Promise<number> {
    if (messages.length === 0) return 0;
    const bytes = batch(messages);
    return await this.#watch.own(1, async () =>
      bytes.length > LONG_BATCH ? this.#netlink.batchSlowly(bytes) : this.#netlink.tryBatch(bytes),
    );
  }

  intact(): Promise<boolean> {
    return Promise.resolve(this.#readHandles() === this.#handles);
  }

  #readHandles(): string {
    return this.#families
      .map((family) => {
        const number = family === 4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
        return this.#netlink.dump(dumpRules(number, this.#table)).map(parseRuleHandle).join();
      })
      .join(" ");
  }

  disturbed(): boolean {
    return this.#watch.changed();
  }

  async denyForwarding(family: Family): Promise<void> {
    if (!this.#families.includes(family)) return;
    const errno = await this.#send(routerMessages(ROUTER_TABLE, family));
    if (errno !== 0) throw refused(ROUTER_TABLE, errno);
  }

  close(): void {
    this.#watch[Symbol.dispose]();
    this.#netlink[Symbol.dispose]();
  }
}

/** The table of a daemon: daemons side by side have bridges of different names, or none and another place. */
export function tableOf({ bridge, execRoot }: { bridge: string; execRoot: string }): string {
  if (bridge !== "none") return `berth-${bridge}`;
  return `berth-${createHash("sha256").update(execRoot).digest("hex").slice(0, 12)}`;
}

/** Removes the tables a former daemon has left. A kernel without nftables has none. */
export function removeTables(table: string, families: readonly Family[]): void {
  using netlink = new NetlinkSocket(NETLINK_NETFILTER);
  netlink.tryBatch(batch(families.flatMap((family) => noTable(table, family))));
}

function difference(
  before: readonly PortRule[],
  after: readonly PortRule[],
): { gone: PortRule[]; added: readonly PortRule[] } {
  // Mostly something is added behind.
  if (before.every((port, at) => port === after[at])) return { gone: [], added: after.slice(before.length) };
  const past = new Set(before);
  const present = new Set(after);
  return {
    gone: before.filter((port) => !present.has(port)),
    added: after.filter((port) => !past.has(port)),
  };
}

function refused(table: string, errno: number): BerthError {
  const cause = new SyscallError("netlink", errno, ["nf_tables"]);
  return new BerthError("internal", `the kernel refused the firewall's table ${table}: ${cause.message}`, {
    operation: "change the firewall",
    object: table,
    hint: "the kernel may lack something of nf_tables; --firewall-backend=iptables is the other way",
    cause,
  });
}
