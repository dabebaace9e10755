/**
 * The bridge driver: one bridge on the host, a veth pair per container, published ports by address translation.
 *
 * Owns the bridge's interface, its firewall, its addresses and its ports. What a container without published ports
 * costs here is two database rows and a few hundred bytes of prepared messages: no process, no message to the kernel.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { deleteLink, formatMac, parseMac } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import {
  bridgeAddress,
  ensureBridge,
  findLink,
  readSysctl,
  writeSysctl,
} from "#networks/drivers/bridge-link.ts";
import { type BridgePlan, planBridge, planConfig } from "#networks/drivers/bridge-plan.ts";
import { LinkIndexes } from "#networks/drivers/link-indexes.ts";
import { bridgeProgram, macFromAddress } from "#networks/drivers/sandbox-program.ts";
import { bareEndpoint } from "#networks/endpoint-settings.ts";
import { BridgeFirewall } from "#networks/firewall/bridge-firewall.ts";
import { restoreRules } from "#networks/firewall/iptables-command.ts";
import type { PortRule } from "#networks/firewall/rule-text.ts";
import { readLinks, usedPrefixes } from "#networks/host-survey.ts";
import { AddressLeases, type AddressRange } from "#networks/ipam/address-leases.ts";
import { type Address, formatAddress, type Prefix, parseAddress } from "#networks/ipam/prefix.ts";
import { type NetworkConfig, type NetworkRecord, randomId } from "#networks/network-record.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import { external, PortAllocator, type PublishedPort } from "#networks/ports/port-allocator.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import { forgetFlows } from "#networks/ports/udp-flows.ts";
import type { SandboxProgram } from "#runtime/launch-types.ts";
import type { Database } from "#state/database.ts";

export interface BridgeEndpoint {
  settings: EndpointSettings;
  program: SandboxProgram;
  published: PublishedPort[];
  veth: string;
}

interface Running extends BridgePlan {
  index: number;
  firewall: BridgeFirewall | undefined;
  isolated: boolean;
}

export class BridgeNetwork {
  readonly #options: NetworkOptions;
  readonly #logger: Logger;
  readonly #database: Database;
  readonly #leases: AddressLeases;
  readonly #ports = new PortAllocator();
  readonly #ipv6 = readSysctl("net/ipv6/conf/all/disable_ipv6") !== undefined;
  /** Leases whose rules may still be in the kernel; their addresses must not be given out. */
  readonly #lingering = new Set<string>();
  #running: Running | undefined;
  #indexes = new LinkIndexes([]);

  constructor(database: Database, options: NetworkOptions, logger: Logger) {
    this.#database = database;
    this.#options = options;
    this.#logger = logger;
    this.#leases = new AddressLeases(database);
  }

  /** The address containers reach the host at; undefined before start. */
  get gateway(): string | undefined {
    return this.#running && formatAddress(this.#running.gateway);
  }

  /**
   * Makes bridge, settings and rules. `published` is what containers of a former daemon may still have: their rules
   * are put back at once, not when it is known which of them live. Answers what the record should remember.
   */
  async start(
    record: NetworkRecord,
    published: ReadonlyMap<string, { address: string; ports: readonly PublishedPort[] }>,
    save: (config: NetworkConfig) => void,
  ): Promise<void> {
    const { bridge, mtu } = this.#options;
    using netlink = new NetlinkSocket();
    const existing = findLink(netlink, bridge);
    const plan = planBridge(this.#options, {
      present: existing && bridgeAddress(netlink, existing.index),
      remembered: record.config,
      used: usedPrefixes(netlink, existing?.index ?? -1),
    });
    const config = planConfig(bridge, plan);
    if (JSON.stringify(config) !== JSON.stringify(record.config)) {
      save(config);
      if (config.subnet !== record.config.subnet) this.#leases.forgetFree(record.id);
    }
    const index = ensureBridge(netlink, {
      name: bridge,
      gateway: plan.gateway,
      prefixLength: plan.subnet.length,
      mtu,
      former: parseAddress(record.config.gateway ?? ""),
    });
    this.#indexes = new LinkIndexes(readLinks(netlink));
    // Where the firewall sees bridged frames, its rules keep containers apart; elsewhere the bridge itself must.
    const seesFrames = readSysctl("net/bridge/bridge-nf-call-iptables") === "1" && this.#options.iptables;
    this.#running = {
      ...plan,
      index,
      firewall: undefined,
      isolated: !this.#options.icc && !seesFrames,
    };
    if (this.#options.iptables) this.#running.firewall = await this.#raiseFirewall(plan.subnet, published);
    if (this.#options.ipForward) await this.#forward();
  }

  async #raiseFirewall(
    subnet: Prefix,
    published: ReadonlyMap<string, { address: string; ports: readonly PublishedPort[] }>,
  ): Promise<BridgeFirewall> {
    const { bridge, ipMasq, icc } = this.#options;
    const firewall = new BridgeFirewall({ bridge, subnet, masquerade: ipMasq, icc });
    for (const [endpoint, { address, ports }] of published) {
      firewall.publish(endpoint, portRules(address, ports));
    }
    await firewall.install();
    // Only behind the rules that keep loopback addresses off the wire.
    writeSysctl(`net/ipv4/conf/${bridge}/route_localnet`, "1");
    return firewall;
  }

  /** A host that did not route until now must not begin to route for everybody. */
  async #forward(): Promise<void> {
    if (readSysctl("net/ipv4/ip_forward") === "1") return;
    if (this.#options.iptables) await restoreRules("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
    writeSysctl("net/ipv4/ip_forward", "1");
  }

  /**
   * Takes an address and the ports, and writes the messages. `keep` is called with the result inside the transaction
   * that takes them, to write the row of the holder. Rules are in place when the promise resolves; when it rejects,
   * nothing is held.
   */
  async join(
    record: NetworkRecord,
    who: { containerId: string; name: string; macAddress: string },
    wanted: readonly WantedPort[],
    keep: (endpoint: BridgeEndpoint) => void,
  ): Promise<BridgeEndpoint> {
    const running = this.#started();
    const endpointId = randomId();
    const holder = { containerId: endpointId, name: who.name, endpointId };
    if (wanted.length > 0 && running.firewall === undefined) throw noFirewall(holder);
    const endpoint = this.#database.transaction(() => {
      const address = this.#leases.take(this.#range(record), endpointId);
      const containerIp = formatAddress(address);
      const published = this.#ports.take({ ...holder, containerIp }, wanted);
      try {
        const made = this.#endpoint(record, running, endpointId, address, who.macAddress, published);
        keep(made);
        return made;
      } catch (error) {
        this.#ports.release(endpointId);
        throw error;
      }
    });
    const { published } = endpoint;
    if (published.length > 0) {
      try {
        running.firewall?.publish(endpointId, portRules(endpoint.settings.IPAddress, published));
        await running.firewall?.apply();
      } catch (cause) {
        await this.leave(endpointId);
        throw external(holder, cause instanceof Error ? cause.message : String(cause), { cause });
      }
      forgetFlows(published);
    }
    return endpoint;
  }

  #endpoint(
    record: NetworkRecord,
    running: Running,
    endpointId: string,
    address: Address,
    wantedMac: string,
    published: PublishedPort[],
  ): BridgeEndpoint {
    const mac = wantedMac === "" ? macFromAddress(address) : (parseMac(wantedMac) ?? badMac(wantedMac));
    const veth = `veth${endpointId.slice(0, 7)}`;
    const { subnet, gateway } = running;
    return {
      settings: {
        ...bareEndpoint(record.id, endpointId),
        MacAddress: formatMac(mac),
        Gateway: formatAddress(gateway),
        IPAddress: formatAddress(address),
        IPPrefixLen: subnet.length,
      },
      program: bridgeProgram({
        bridge: { name: this.#options.bridge, index: running.index },
        veth: { name: veth, index: this.#indexes.next() },
        mtu: this.#options.mtu,
        mac,
        address,
        subnet,
        gateway,
        hairpin: published.length > 0,
        isolated: running.isolated,
        ipv6: this.#ipv6,
      }),
      published,
      veth,
    };
  }

  /**
   * Gives back what an endpoint has. Ports are free at once; an address that rules may still point at is so when they
   * are gone, which the answer tells. The link goes with its namespace.
   */
  leave(endpointId: string, published: readonly PublishedPort[] = []): Promise<void> {
    this.#ports.release(endpointId);
    const firewall = this.#running?.firewall;
    if (!firewall?.withdraw(endpointId)) {
      this.#leases.release(endpointId);
      return Promise.resolve();
    }
    this.#lingering.add(endpointId);
    return this.#dropRules(firewall, published).catch((error: unknown) => {
      this.#logger.warn("removing the rules of published ports failed", { error: String(error) });
    });
  }

  async #dropRules(firewall: BridgeFirewall, published: readonly PublishedPort[]): Promise<void> {
    const gone = [...this.#lingering];
    await firewall.apply();
    forgetFlows(published);
    for (const endpoint of gone) {
      this.#lingering.delete(endpoint);
      this.#leases.release(endpoint);
    }
  }

  /** After a restart of the daemon: takes again what a running container has published. */
  resume(containerName: string, endpoint: EndpointSettings, published: readonly PublishedPort[]): void {
    const { EndpointID: endpointId, IPAddress: containerIp } = endpoint;
    const holder = { containerId: endpointId, name: containerName, endpointId, containerIp };
    for (const lost of this.#ports.retake(holder, published)) {
      this.#logger.warn("another process has a published port", {
        container: containerName,
        port: `${lost.hostIp}:${lost.hostPort}/${lost.protocol}`,
      });
    }
  }

  /** Gives back the addresses of all endpoints but these: leftovers of a daemon that was killed. */
  releaseOthers(record: NetworkRecord, endpoints: ReadonlySet<string>): void {
    const holders = this.#database.all<{ holder: string }>(
      "SELECT holder FROM network_address WHERE network_id = ? AND holder IS NOT NULL",
      record.id,
    );
    for (const { holder } of holders) {
      if (!endpoints.has(holder) && !this.#lingering.has(holder)) this.#leases.release(holder);
    }
  }

  /** Deletes the links on the bridge that have names of ours and are not among these. Off the event loop. */
  async sweepLinks(keep: () => ReadonlySet<string>): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    using netlink = new NetlinkSocket();
    const ours = readLinks(netlink).filter(
      (link) => link.master === running.index && /^veth[0-9a-f]{7}$/.test(link.name),
    );
    for (const link of ours) {
      // Asked anew for each: deleting takes long enough for a container to be started meanwhile.
      if (!keep().has(link.name)) await netlink.requestSlowly(deleteLink(link.index));
    }
  }

  /** Lets go of what only this process holds; containers keep everything. */
  async stop(): Promise<void> {
    await this.#running?.firewall?.settled();
    this.#ports.releaseAll();
  }

  #started(): Running {
    if (this.#running === undefined) throw new Error("the bridge network is used before it was started");
    return this.#running;
  }

  #range(record: NetworkRecord): AddressRange {
    const { subnet, range, gateway } = this.#started();
    return { networkId: record.id, networkName: record.name, subnet, range, gateway };
  }
}

function portRules(containerIp: string, published: readonly PublishedPort[]): PortRule[] {
  return published.map(({ protocol, hostIp, hostPort, containerPort }) => ({
    protocol,
    hostIp,
    hostPort,
    containerIp,
    containerPort,
  }));
}

function noFirewall(holder: { name: string; endpointId: string }): BerthError {
  return external(holder, "ports cannot be published with --iptables=false", {
    hint: "start the daemon without --iptables=false, publish nothing, or use --network host",
  });
}

function badMac(text: string): never {
  throw new BerthError("invalid", `invalid MAC address: ${text}`, {
    operation: "create endpoint",
    object: text,
  });
}
