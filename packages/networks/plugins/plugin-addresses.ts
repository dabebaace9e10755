/**
 * Addresses of a network whose pools a plugin keeps: asked for before an endpoint is made, given back after it is gone.
 * They are leases of ours as well, so that nobody gets one twice whatever the plugin thinks.
 *
 * Owns the rows of what the plugin has given; nobody waits for it to take something back.
 */
import type { Logger } from "#errors/logger-types.ts";
import { formatMac } from "#kernel/netlink/link-messages.ts";
import { randomMac } from "#networks/drivers/sandbox-program.ts";
import { recordedPools } from "#networks/ipam/network-pools.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import type { IpamPlugin } from "#networks/plugins/ipam-plugin.ts";
import { told } from "#networks/plugins/network-plugin.ts";
import type { PluginHoldings } from "#networks/plugins/plugin-holdings.ts";

/** Without their lengths; undefined for a family the network has not. */
export interface GivenAddresses {
  ipv4?: string;
  ipv6?: string;
  /** The MAC address the plugin was told, where it wants to know one and the user gave none. */
  mac?: string;
}

export class PluginAddresses {
  readonly #record: NetworkRecord;
  readonly #plugin: IpamPlugin;
  readonly #holdings: PluginHoldings;
  readonly #logger: Logger;
  /** What is being given back now; the removal of the network waits for it, and nobody else. */
  readonly #parting = new Map<string, Promise<void>>();
  #replayed: Promise<void> = Promise.resolve();

  constructor(record: NetworkRecord, plugin: IpamPlugin, holdings: PluginHoldings, logger: Logger) {
    this.#record = record;
    this.#plugin = plugin;
    this.#holdings = holdings;
    this.#logger = logger;
  }

  /** Asks for an address of each pool. When it rejects, nothing is held. */
  async request(endpointId: string, wanted: GivenAddresses, mac: string): Promise<GivenAddresses> {
    const { ipamPools = {} } = this.#record.config;
    const given: GivenAddresses = {};
    try {
      if (mac === "" && (await this.#plugin.capabilities()).needsMac) given.mac = formatMac(randomMac());
      for (const family of ["ipv4", "ipv6"] as const) {
        const pool = ipamPools[family];
        if (pool === undefined) continue;
        const answered = await this.#plugin.requestAddress(pool, wanted[family] ?? "", {
          mac: given.mac ?? mac,
        });
        this.#holdings.note({ endpointId, kind: "address", value: `${pool} ${bare(answered)}` });
        given[family] = bare(answered);
      }
      return given;
    } catch (error) {
      this.release(endpointId);
      throw told(error, "take an address", this.#record.name);
    }
  }

  /** In the background: what the plugin does not take now is offered again when the daemon starts. */
  release(endpointId: string): void {
    if (this.#parting.has(endpointId)) return;
    this.#parting.set(
      endpointId,
      this.#release(endpointId).finally(() => this.#parting.delete(endpointId)),
    );
  }

  async #release(endpointId: string): Promise<void> {
    await this.#replayed;
    for (const holding of this.#holdings.all(endpointId)) {
      if (holding.kind !== "address") continue;
      const [pool = "", address = ""] = holding.value.split(" ");
      try {
        await this.#plugin.releaseAddress(pool, address);
        this.#holdings.forget(holding);
      } catch (error) {
        this.#logger.warn("a plugin has not taken an address back", {
          plugin: this.#plugin.name,
          address,
          error: String(error),
        });
      }
    }
  }

  /**
   * The daemon has started again: a plugin that remembers nothing is told of the network's pools, and of what it has given.
   * In the background.
   */
  replay(): void {
    this.#replayed = this.#replay().catch((error: unknown) =>
      this.#logger.warn("a plugin cannot be told again which addresses it has given", {
        plugin: this.#plugin.name,
        network: this.#record.name,
        error: String(error),
      }),
    );
  }

  async #replay(): Promise<void> {
    if (!(await this.#plugin.capabilities()).wantsReplay) return;
    const { ipamSpace = "", ipamOptions, ipamPools = {} } = this.#record.config;
    for (const { subnet, range = "", gateway = "" } of recordedPools(this.#record.config)) {
      const v6 = subnet.includes(":");
      const options = ipamOptions ?? {};
      await this.#plugin.requestPool({ addressSpace: ipamSpace, subnet, range, options, v6 });
      const pool = v6 ? ipamPools.ipv6 : ipamPools.ipv4;
      if (pool !== undefined && gateway !== "")
        await this.#plugin.requestAddress(pool, gateway, { gateway: true });
    }
    for (const { kind, value } of this.#holdings.all()) {
      const [pool = "", address = ""] = value.split(" ");
      if (kind === "address") await this.#plugin.requestAddress(pool, address);
    }
  }

  /** Gives back what is held for other endpoints than these, in the background. */
  releaseOthers(endpoints: ReadonlySet<string>): void {
    const held = new Set(this.#holdings.all().map(({ endpointId }) => endpointId));
    for (const endpointId of held) if (!endpoints.has(endpointId)) this.release(endpointId);
  }

  /** The network is gone. Never rejects. */
  async releasePools(): Promise<void> {
    await this.#replayed;
    await Promise.all(this.#parting.values());
    for (const pool of Object.values(this.#record.config.ipamPools ?? {})) {
      try {
        await this.#plugin.releasePool(pool);
      } catch (error) {
        this.#logger.warn("a plugin has not taken a pool back", {
          plugin: this.#plugin.name,
          network: this.#record.name,
          error: String(error),
        });
      }
    }
  }
}

function bare(address: string): string {
  return address.split("/")[0] ?? "";
}
