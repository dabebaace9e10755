/**
 * The firewall of one bridge: what should be there, and bringing the kernel to it.
 *
 * Owns the list of published ports by holder. A change rewrites the bridge's chain of ports as a whole, in one
 * transaction: what is stale, lost or duplicated is right again afterwards. Changes that come while one is being
 * applied are applied together by the next.
 */

import { changeRules, restoreRules } from "#networks/firewall/iptables-command.ts";
import {
  type BridgeRules,
  installText,
  type PortRule,
  portsText,
  removalText,
} from "#networks/firewall/rule-text.ts";
import type { Family } from "#networks/ipam/prefix.ts";

export class BridgeFirewall {
  readonly #rules: BridgeRules;
  readonly #ports = new Map<string, readonly PortRule[]>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(rules: BridgeRules) {
    this.#rules = rules;
  }

  /** Puts all rules of the bridge in place. */
  async install(): Promise<void> {
    await this.#running?.catch(() => {});
    await changeRules(
      (saved) => installText(this.#rules, this.#allPorts(), saved),
      this.#rules.subnet.family,
    );
  }

  /** Notes what a holder publishes; takes effect with the next `apply`. */
  publish(holder: string, ports: readonly PortRule[]): void {
    this.#ports.set(holder, ports);
  }

  /** Notes that a holder publishes nothing any more. Did it publish anything? */
  withdraw(holder: string): boolean {
    return this.#ports.delete(holder);
  }

  /** Resolves when what is noted by now is in the kernel. */
  apply(): Promise<void> {
    if (this.#running === undefined) {
      const running = restoreRules(portsText(this.#rules.bridge, this.#allPorts())).finally(() => {
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

  /** Resolves when nothing is being applied. */
  async settled(): Promise<void> {
    while (this.#running !== undefined || this.#next !== undefined) {
      await (this.#next ?? this.#running)?.catch(() => {});
    }
  }

  #allPorts(): PortRule[] {
    return [...this.#ports.values()].flat();
  }
}

/** Removes every rule and chain of a bridge of one family: with its network, or for uninstalling. */
export async function removeBridgeRules(bridge: string, family: Family = 4): Promise<void> {
  await changeRules((saved) => removalText(bridge, saved), family);
}
