/**
 * The daemon's firewall: what should be there for all bridges, and bringing the kernel to it.
 *
 * Owns the desired state. Changes that come while one is applied are applied together by the next, those of all networks
 * in one transaction. What another program takes away is put back, but never in a race: each time it happens again soon
 * after, the wait is longer. It knows no rule: how they look is the back ends'.
 */
import type { Logger } from "#errors/logger-types.ts";
import {
  type BridgeRules,
  type BridgeState,
  familyOf,
  type LinkRule,
  type PortRule,
} from "#networks/firewall/desired-rules.ts";
import type { FirewallBackend } from "#networks/firewall/firewall-backend.ts";
import type { FirewallRecord, FirewallTrace } from "#networks/firewall/firewall-record.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/** How often it is asked whether anybody changed rules, ms; asking takes microseconds. */
const ASK_EVERY = 200;
/**
 * Who changes rules is let finish before ours are looked at: for how long nothing must have happened, and how long that
 * is waited for at most, ms. An engine that starts finds no chain that was not there a moment ago.
 */
const QUIET = { enough: 600, longest: 10_000 };
/** The shortest time between two looks at the rules themselves, ms. */
const LOOK_GAP = 1000;
/** What could not be applied is tried again after this, ms, and after twice as long each time until the longest gap. */
const FIRST_RETRY = 500;
/** Somebody who takes rules away again and again has them put back at this interval, ms. */
const LONGEST_GAP = 60_000;

interface Bridge {
  rules: Partial<Record<Family, BridgeRules>>;
  ports: Map<string, readonly PortRule[]>;
  links: Map<string, readonly LinkRule[]>;
  /** What of it is not in the kernel yet. */
  due: "nothing" | "ports" | "whole";
}

export interface FirewallParts {
  /** Undefined where the firewall is not to be touched at all. */
  backend: FirewallBackend | undefined;
  /** The families whose rules may be touched. */
  families: readonly Family[];
  record: FirewallRecord;
  /** What a bridge's rules are in the record. */
  traceOf: (bridge: string) => FirewallTrace;
  /** Removes what a former daemon has left. */
  removeTrace: (trace: FirewallTrace) => Promise<void>;
  logger: Logger;
}

export class Firewall {
  readonly #parts: FirewallParts;
  readonly #bridges = new Map<string, Bridge>();
  readonly #gone = new Map<string, readonly Family[]>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  /** When rules of ours may have been touched first and last since they were looked at; undefined for not at all. */
  #disturbed: { first: number; last: number } | undefined;
  #lastLook = 0;
  #lastRepair = 0;
  #gap = LOOK_GAP;
  /** When what failed is tried again, and how long was waited for that. */
  #retry: { at: number; pause: number } | undefined;

  constructor(parts: FirewallParts) {
    this.#parts = parts;
  }

  /** Are there rules for this family? Without, nothing of it is translated or kept apart. */
  covers(family: Family): boolean {
    return this.#parts.backend !== undefined && this.#parts.families.includes(family);
  }

  /**
   * Begins to look after the rules, and removes what a former daemon of this data root has left of bridges that are not
   * among `bridges`.
   */
  async start(bridges: ReadonlySet<string>): Promise<void> {
    const { backend, record, traceOf, removeTrace, logger } = this.#parts;
    if (backend === undefined) return;
    const kept = new Set([...bridges].map((bridge) => JSON.stringify(traceOf(bridge))));
    for (const trace of record.all().filter((each) => !kept.has(JSON.stringify(each)))) {
      try {
        await removeTrace(trace);
        record.forget(trace);
      } catch (error) {
        // It is tried again by the next start.
        logger.warn("rules of a former daemon cannot be removed", { name: trace.name, error: String(error) });
      }
    }
    this.#timer = setInterval(() => this.#ask(), ASK_EVERY).unref();
  }

  /** Notes how a bridge shall behave, in one family or both; with the next `apply`, all its rules are made anew. */
  set(bridge: string, rules: readonly BridgeRules[]): void {
    const known = this.#bridges.get(bridge) ?? emptyBridge();
    const covered = rules.filter(({ subnet }) => this.covers(subnet.family));
    const byFamily = Object.fromEntries(covered.map((each) => [each.subnet.family, each]));
    this.#bridges.set(bridge, { ...known, rules: byFamily, due: "whole" });
    this.#gone.delete(bridge);
  }

  /** Notes what a holder publishes on a bridge, in place of what it published before. */
  publish(bridge: string, holder: string, ports: readonly PortRule[]): void {
    const found = this.#bridges.get(bridge);
    if (found === undefined) return;
    const covered = ports.filter(({ containerIp }) => this.covers(familyOf(containerIp)));
    // Last, so that what is only added is only appended.
    found.ports.delete(holder);
    found.ports.set(holder, covered);
    if (found.due === "nothing") found.due = "ports";
  }

  /** Notes that a holder publishes nothing any more. Did it publish anything? */
  withdraw(bridge: string, holder: string): boolean {
    const found = this.#bridges.get(bridge);
    if (!found?.ports.delete(holder)) return false;
    if (found.due === "nothing") found.due = "ports";
    return true;
  }

  /**
   * Notes whom a holder may connect to where containers are kept apart; may come before the bridge's rules. Has anything
   * changed?
   */
  permit(bridge: string, holder: string, links: readonly LinkRule[]): boolean {
    if (this.#parts.backend === undefined) return false;
    const found = this.#bridges.get(bridge) ?? emptyBridge();
    this.#bridges.set(bridge, found);
    const before = found.links.get(holder) ?? [];
    if (JSON.stringify(before) === JSON.stringify(links)) return false;
    if (links.length === 0) found.links.delete(holder);
    else found.links.set(holder, links);
    if (familiesOf(found).length > 0) found.due = "whole";
    return true;
  }

  /** Notes that an endpoint is no more: nobody may connect to it, and it to nobody. Has anything changed? */
  forget(bridge: string, endpoint: string): boolean {
    const found = this.#bridges.get(bridge);
    if (found === undefined || found.links.size === 0) return false;
    const changed = [...found.links].map(([holder, links]) => {
      const left = holder === endpoint ? [] : links.filter(({ peer }) => peer !== endpoint);
      return left.length < links.length && this.permit(bridge, holder, left);
    });
    return changed.includes(true);
  }

  /** Removes all rules of a bridge. Resolves when they are gone. */
  async remove(bridge: string): Promise<void> {
    const known = this.#bridges.get(bridge);
    this.#bridges.delete(bridge);
    if (this.#parts.backend === undefined) return;
    this.#gone.set(bridge, known === undefined ? this.#parts.families : familiesOf(known));
    await this.apply();
    const { record, traceOf } = this.#parts;
    const trace = traceOf(bridge);
    // A table of nftables is there for all bridges.
    if ([...this.#bridges.keys()].every((other) => traceOf(other).name !== trace.name)) record.forget(trace);
  }

  /** Resolves when what is noted by now is in the kernel. */
  apply(): Promise<void> {
    if (this.#running === undefined) {
      const running = this.#work().finally(() => {
        this.#running = undefined;
      });
      this.#running = running;
      return running;
    }
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.apply();
      });
    return this.#next;
  }

  /** This host was no router until now, and shall not become one for everybody. */
  async denyForwarding(family: Family): Promise<void> {
    if (this.covers(family)) await this.#parts.backend?.denyForwarding(family);
  }

  /** Resolves when nothing is being applied. */
  async settled(): Promise<void> {
    while (this.#running !== undefined || this.#next !== undefined) {
      await (this.#next ?? this.#running)?.catch(() => {});
    }
  }

  /** The rules stay; nobody looks after them any more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.settled();
    while (this.#looking) await new Promise((resolve) => setTimeout(resolve, 5));
    this.#parts.backend?.close();
  }

  async #work(): Promise<void> {
    // Who notes something in the same turn of the event loop has it applied along.
    await null;
    const { backend, record, traceOf } = this.#parts;
    const due = [...this.#bridges].filter(([, bridge]) => bridge.due !== "nothing");
    const gone = [...this.#gone];
    if (backend === undefined || (due.length === 0 && gone.length === 0)) return;
    const states = (what: Bridge["due"]) =>
      due.filter(([, bridge]) => bridge.due === what).map(([name, bridge]) => stateOf(name, bridge));
    const whole = states("whole");
    const ports = states("ports");
    for (const [, bridge] of due) bridge.due = "nothing";
    this.#gone.clear();
    try {
      record.note(whole.map(({ bridge }) => traceOf(bridge)));
      await backend.apply({ whole, ports, gone: gone.map(([bridge, families]) => ({ bridge, families })) });
    } catch (error) {
      // Nobody knows what of it is there.
      for (const [, bridge] of due) bridge.due = "whole";
      for (const [bridge, families] of gone) {
        if (!this.#bridges.has(bridge)) this.#gone.set(bridge, families);
      }
      // Whoever asked for it is told, and does not come again: who gives ports back has nobody to tell.
      const pause = Math.min(2 * (this.#retry?.pause ?? FIRST_RETRY / 2), LONGEST_GAP);
      this.#retry = { at: Date.now() + pause, pause };
      throw error;
    }
    this.#retry = undefined;
  }

  #ask(): void {
    const { backend, logger } = this.#parts;
    const now = Date.now();
    if (this.#retry !== undefined && now >= this.#retry.at && this.#running === undefined) {
      this.apply().catch((error: unknown) =>
        logger.warn("rules of the firewall still cannot be changed", { error: String(error) }),
      );
    }
    if (backend?.disturbed()) this.#disturbed = { first: this.#disturbed?.first ?? now, last: now };
    if (this.#disturbed === undefined || this.#looking || now - this.#lastLook < this.#gap) return;
    const { first, last } = this.#disturbed;
    if (now - last < QUIET.enough && now - first < QUIET.longest) return;
    this.#disturbed = undefined;
    this.#looking = true;
    this.#look()
      .catch((error: unknown) => {
        logger.warn("the firewall cannot be looked after", { error: String(error) });
        this.#disturbed ??= { first: now, last: now };
      })
      .finally(() => {
        this.#lastLook = Date.now();
        this.#looking = false;
      });
  }

  async #look(): Promise<void> {
    const { backend, logger } = this.#parts;
    await this.settled();
    // What has yet to be applied, or failed to be, is not missed.
    const settled = [...this.#bridges].filter(
      ([, bridge]) => bridge.due === "nothing" && familiesOf(bridge).length > 0,
    );
    const before = settled.map(([name, bridge]) => stateOf(name, bridge));
    if (before.length === 0 || (await backend?.intact(before)) !== false) return;
    // A change of our own in between is no reason; the next look tells.
    if (this.#running !== undefined) {
      this.#disturbed = { first: Date.now(), last: 0 };
      return;
    }
    const sinceLast = Date.now() - this.#lastRepair;
    this.#gap = sinceLast < 2 * this.#gap ? Math.min(2 * this.#gap, LONGEST_GAP) : LOOK_GAP;
    if (sinceLast > LONGEST_GAP) {
      logger.warn("another program has removed rules of the firewall; they are put back", {
        bridges: before.map(({ bridge }) => bridge).join(" "),
      });
    }
    for (const [, bridge] of settled) bridge.due = "whole";
    await this.apply();
    this.#lastRepair = Date.now();
  }
}

function emptyBridge(): Bridge {
  return { rules: {}, ports: new Map(), links: new Map(), due: "nothing" };
}

function stateOf(bridge: string, { rules, ports, links }: Bridge): BridgeState {
  return { bridge, rules, ports: [...ports.values()].flat(), links: [...links.values()].flat() };
}

function familiesOf({ rules }: Bridge): Family[] {
  return Object.values(rules).map(({ subnet }) => subnet.family);
}
