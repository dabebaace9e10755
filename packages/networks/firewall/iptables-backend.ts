/**
 * The firewall by iptables and ip6tables, of either variant (nf_tables or legacy).
 *
 * A change is one run of iptables-restore for each family it touches. Ports that are only added are appended, without a
 * look at what is there; everything else that depends on other rules begins with iptables-save.
 */
import { type BridgeState, familyOf, type PortRule, translates } from "#networks/firewall/desired-rules.ts";
import type { FirewallBackend, FirewallChange } from "#networks/firewall/firewall-backend.ts";
import { IptablesCommand } from "#networks/firewall/iptables-command.ts";
import { RuleSetWatch } from "#networks/firewall/rule-set-watch.ts";
import { addedText, changeText, isIntact, portsText } from "#networks/firewall/rule-text.ts";
import { SavedRules } from "#networks/firewall/saved-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/** How often legacy rules are looked at without a sign, ms. */
const LEGACY_LOOK = 30_000;

export class IptablesBackend implements FirewallBackend {
  readonly #families: readonly Family[];
  readonly #command: IptablesCommand;
  readonly #watch = new RuleSetWatch();
  /** The ports each bridge has in the kernel, as far as is known. */
  readonly #applied = new Map<string, readonly PortRule[]>();
  #legacy = false;
  #lastLook = Date.now();

  /** `families`: those that may be touched at all. */
  constructor(families: readonly Family[], command = new IptablesCommand()) {
    this.#families = families;
    this.#command = command;
  }

  async apply(change: FirewallChange): Promise<void> {
    const concerned = [...change.whole, ...change.ports];
    const before = new Map(concerned.map(({ bridge }) => [bridge, this.#applied.get(bridge)]));
    for (const bridge of before.keys()) this.#applied.delete(bridge);
    for (const { bridge } of change.gone) this.#applied.delete(bridge);
    await Promise.all(this.#families.map((family) => this.#applyFamily(family, change, before)));
    for (const { bridge, ports } of concerned) this.#applied.set(bridge, ports);
  }

  async #applyFamily(
    family: Family,
    change: FirewallChange,
    before: ReadonlyMap<string, readonly PortRule[] | undefined>,
  ): Promise<void> {
    const whole = change.whole.filter(({ rules }) => rules[family] !== undefined);
    const rewritten: BridgeState[] = [];
    const added: { bridge: string; port: PortRule }[] = [];
    for (const state of change.ports) {
      const rules = state.rules[family];
      if (rules === undefined) continue;
      const more = appended(before.get(state.bridge), state.ports);
      if (more === undefined || !translates(rules)) rewritten.push(state);
      else {
        const ports = more.filter(({ containerIp }) => familyOf(containerIp) === family);
        added.push(...ports.map((port) => ({ bridge: state.bridge, port })));
      }
    }
    const gone = change.gone.flatMap(({ bridge, families }) => (families.includes(family) ? [bridge] : []));
    const ports = change.ports.filter(({ rules }) => rules[family] !== undefined);
    if (whole.length > 0 || gone.length > 0) {
      await this.#change(family, [...whole, ...ports], gone);
      return;
    }
    const text = portsText(rewritten, family) + addedText(added);
    try {
      await this.#restore(text, family);
    } catch {
      // Something that it rests on is not there any more: then all of it is put in, by what is there.
      await this.#change(family, ports, []);
    }
  }

  async #change(family: Family, whole: readonly BridgeState[], gone: readonly string[]): Promise<void> {
    await this.#command.change(
      (saved) => {
        const rules = this.#read(saved);
        return changeText(family, { whole, gone }, rules);
      },
      (text) => this.#restore(text, family),
      family,
    );
  }

  /** As many transactions as tables. */
  async #restore(text: string, family: Family): Promise<void> {
    if (text === "") return;
    const count = text.match(/^COMMIT$/gm)?.length ?? 0;
    await this.#watch.own(count, () => this.#command.restore(text, family));
  }

  #read(saved: string): SavedRules {
    const rules = new SavedRules(saved);
    this.#legacy = !rules.isNft;
    return rules;
  }

  async intact(states: readonly BridgeState[]): Promise<boolean> {
    this.#lastLook = Date.now();
    const answers = await Promise.all(
      this.#families.map(async (family) => {
        const concerned = states.filter(({ rules }) => rules[family] !== undefined);
        if (concerned.length === 0) return true;
        return isIntact(concerned, family, this.#read(await this.#command.save(family)));
      }),
    );
    return answers.every(Boolean);
  }

  disturbed(): boolean {
    // A program that has not the same /run tells nobody that it changes legacy rules.
    return this.#watch.changed() || (this.#legacy && Date.now() - this.#lastLook > LEGACY_LOOK);
  }

  async denyForwarding(family: Family): Promise<void> {
    if (!this.#families.includes(family)) return;
    await this.#restore("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", family);
  }

  close(): void {
    this.#watch[Symbol.dispose]();
  }
}

/** What `after` has behind all that `before` has; undefined if that is not how it came to be. */
function appended(
  before: readonly PortRule[] | undefined,
  after: readonly PortRule[],
): readonly PortRule[] | undefined {
  if (before === undefined || before.length > after.length) return undefined;
  return before.every((port, at) => port === after[at]) ? after.slice(before.length) : undefined;
}

/** Removes every rule and chain of a bridge, whatever the daemon knows of it: for what a former one has left. */
export async function removeBridgeRules(
  bridge: string,
  family: Family = 4,
  command = new IptablesCommand(),
): Promise<void> {
  await command.change(
    (saved) => changeText(family, { whole: [], gone: [bridge] }, new SavedRules(saved)),
    (text) => command.restore(text, family),
    family,
  );
}
