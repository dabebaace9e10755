/**
 * Published ports of one bridge's endpoints: taken on the host, opened in the firewall or served by the port proxy, and
 * given back. An address is free again once no rule points at it; until then it lingers.
 */
import type { BerthError } from "#errors/errors.ts";
import type { BridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { BridgeShared } from "#networks/drivers/bridge-shared.ts";
import type { PortOwner } from "#networks/drivers/driver-types.ts";
import type { PortRule } from "#networks/firewall/desired-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import { type PublishingSide, planBindings, proxyTarget, ruleOf } from "#networks/ports/bindings.ts";
import type { TargetOf } from "#networks/ports/port-allocator.ts";
import { external, type PublishedPort } from "#networks/ports/port-errors.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import { forgetFlows } from "#networks/ports/udp-flows.ts";

/** ms until rules are tried to be taken out again that could not be: at first, and at most. */
const AGAIN = { first: 1000, most: 60_000 };

export class BridgePorts {
  readonly #settings: BridgeSettings;
  readonly #shared: BridgeShared;
  /** Leases whose rules may still be in the kernel; their addresses must not be given out. */
  readonly #lingering = new Set<string>();
  /** What is being taken out at the moment. */
  readonly #drops = new Set<Promise<void>>();

  constructor(settings: BridgeSettings, shared: BridgeShared) {
    this.#settings = settings;
    this.#shared = shared;
  }

  async take(owner: PortOwner, wanted: readonly WantedPort[]): Promise<PublishedPort[]> {
    const side = this.#side(owner);
    if (!side.translates(4) && !side.proxy) throw noFirewall(holderOf(owner));
    const target: TargetOf = (port) => proxyTarget(port, side);
    return await this.#shared.ports.take(holderOf(owner), planBindings(wanted, side), target);
  }

  #side({ containerIp, containerIp6 }: PortOwner): PublishingSide {
    const { firewall, hasProxy, hostHasIpv6 } = this.#shared;
    const { hostIp, modes } = this.#settings;
    const translates = (family: Family) => firewall.covers(family);
    return { containerIp, containerIp6, modes, defaultIp: hostIp, proxy: hasProxy, translates, hostHasIpv6 };
  }

  /** What the firewall does for them. */
  rules(owner: PortOwner, published: readonly PublishedPort[]): PortRule[] {
    const side = this.#side(owner);
    return published.flatMap((port) => ruleOf(port, side) ?? []);
  }

  async publish(owner: PortOwner, published: readonly PublishedPort[]): Promise<void> {
    const { firewall } = this.#shared;
    const rules = this.rules(owner, published);
    // The port proxy needs none.
    if (rules.length === 0) return;
    try {
      firewall.publish(this.#settings.bridge, owner.endpointId, rules);
      await firewall.apply();
    } catch (cause) {
      throw external(holderOf(owner), cause instanceof Error ? cause.message : String(cause), { cause });
    }
    await forgetFlows(published);
  }

  async withdraw(endpointId: string, published: readonly PublishedPort[]): Promise<void> {
    this.#shared.ports.release(endpointId);
    const { firewall } = this.#shared;
    if (!firewall.withdraw(this.#settings.bridge, endpointId)) return;
    try {
      await firewall.apply();
      await forgetFlows(published);
    } catch (error) {
      this.#complain(error);
    }
  }

  /**
   * Ports are free at once; an address that rules may still point at is so when they are gone, which the answer tells.
   */
  leave(endpointId: string, published: readonly PublishedPort[]): Promise<void> {
    this.#shared.ports.release(endpointId);
    const { firewall } = this.#shared;
    const unlinked = firewall.forget(this.#settings.bridge, endpointId);
    if (!firewall.withdraw(this.#settings.bridge, endpointId) && !unlinked) {
      this.#shared.leases.release(endpointId);
      return Promise.resolve();
    }
    this.#lingering.add(endpointId);
    const drop = this.#dropRules(published);
    this.#drops.add(drop);
    return drop.finally(() => this.#drops.delete(drop));
  }

  /** Resolves when the addresses of all that have left are free, but for those whose rules cannot be taken out. */
  async freed(): Promise<void> {
    await Promise.all(this.#drops);
  }

  #complain(error: unknown): void {
    this.#shared.logger.warn("removing the rules of published ports failed", { error: String(error) });
  }

  /** Never rejects: where it fails it is done again later, and the addresses linger until then. */
  async #dropRules(published: readonly PublishedPort[], again = AGAIN.first): Promise<void> {
    const gone = [...this.#lingering];
    try {
      await this.#shared.firewall.apply();
      await forgetFlows(published);
    } catch (error) {
      this.#complain(error);
      setTimeout(() => void this.#dropRules(published, Math.min(2 * again, AGAIN.most)), again).unref();
      return;
    }
    for (const endpoint of gone) {
      this.#lingering.delete(endpoint);
      this.#shared.leases.release(endpoint);
    }
  }

  /** May rules still point at this endpoint's address? It must not be given out then. */
  lingers(endpointId: string): boolean {
    return this.#lingering.has(endpointId);
  }

  resume(owner: PortOwner, published: readonly PublishedPort[]): void {
    const side = this.#side(owner);
    const target: TargetOf = (port) => proxyTarget(port, side);
    for (const lost of this.#shared.ports.retake(holderOf(owner), published, target)) {
      this.#shared.logger.warn("another process has a published port", {
        container: owner.containerName,
        port: `${lost.hostIp}:${lost.hostPort}/${lost.protocol}`,
      });
    }
  }
}

/** Ports are held by their endpoint. */
function holderOf(owner: PortOwner) {
  const { endpointId, containerName, containerIp } = owner;
  return { containerId: endpointId, name: containerName, endpointId, containerIp };
}

function noFirewall(holder: { name: string; endpointId: string }): BerthError {
  return external(holder, "ports cannot be published with neither firewall nor port proxy", {
    hint: "start the daemon without --iptables=false or without --userland-proxy=false, or use --network host",
  });
}
