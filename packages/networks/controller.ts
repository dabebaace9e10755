/**
 * The network controller: the networks there are, and what every running container holds of them.
 *
 * Owns the rows of networks and sandboxes; the drivers own what is on the host. It decides which networks a container
 * joins, in what order, and which of them leads out; joining.ts and changing a running one (changes.ts) carry it out.
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join as joinPath } from "node:path";
import type { EndpointSettings, NetworkCreateRequest, NetworkResource } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { DnsService } from "#networks/dns/dns-service.ts";
import { resolverProgram } from "#networks/dns/resolver-program.ts";
import { canRedirect } from "#networks/dns/resolver-sockets.ts";
import { BridgeNetwork, type BridgeShared } from "#networks/drivers/bridge.ts";
import { findLink, readSysctl } from "#networks/drivers/bridge-link.ts";
import { defaultBridgeSettings, userBridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { NetworkDriver, PublishedBefore } from "#networks/drivers/driver-types.ts";
import { hostNetwork } from "#networks/drivers/host.ts";
import { LinkIndexes } from "#networks/drivers/link-indexes.ts";
import { nullNetwork } from "#networks/drivers/null.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { checkEndpointSettings } from "#networks/endpoint-check.ts";
import { isUserDefined, planEndpoints } from "#networks/endpoint-plan.ts";
import { networkResource } from "#networks/endpoint-settings.ts";
import { readLinks, usedPrefixes } from "#networks/host-survey.ts";
import { hostsFile, hostsFileOfHost } from "#networks/hosts-file.ts";
import { AddressLeases } from "#networks/ipam/address-leases.ts";
import { composeNetwork, subnetsOf } from "#networks/network-create.ts";
import { type HeldSandbox, type NetworkRecord, NetworkRecords, randomId } from "#networks/network-record.ts";
import { type Network, NetworkTable, predefined } from "#networks/network-table.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { PortAllocator } from "#networks/ports/port-allocator.ts";
import { portMap, wantedPorts } from "#networks/ports/port-spec.ts";
import { isStubResolver, type ResolverRequest, resolvConf, upstreamServers } from "#networks/resolv-conf.ts";
import { joinRunning, leaveRunning } from "#networks/sandbox/changes.ts";
import { joinNetworks, ownerOf } from "#networks/sandbox/joining.ts";
import { toldNames } from "#networks/told-names.ts";
import type { Database } from "#state/database.ts";

export { networkMigrations } from "#networks/schema.ts";

/** Milliseconds after a release in which its link should have gone with the namespace. */
const sweepDelay = 10_000;

/** Makes the controller; nothing on the host changes before `start()`. */
export function createNetworkController(
  database: Database,
  options: NetworkOptions,
  logger: Logger = silentLogger,
): NetworkController {
  return new Controller(database, options, logger);
}

class Controller implements NetworkController {
  readonly #options: NetworkOptions;
  readonly #logger: Logger;
  readonly #dns: DnsService;
  readonly #records: NetworkRecords;
  readonly #networks: NetworkTable;
  readonly #shared: BridgeShared;
  readonly #database: Database;
  readonly #held = new Map<string, HeldSandbox>();
  readonly #pids = new Map<string, number>();
  readonly #background = new Set<Promise<void>>();
  /** Networks with links that should be gone by the next sweep. */
  readonly #unswept = new Set<Network>();
  #sweep: NodeJS.Timeout | undefined;
  /** Has the kernel what leads questions to the name server? Known once one was asked for. */
  #redirects: boolean | undefined;
  /** Making and removing networks is done one at a time. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(database: Database, options: NetworkOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
    this.#dns = new DnsService(logger);
    this.#database = database;
    this.#records = new NetworkRecords(database);
    let indexes: LinkIndexes | undefined;
    this.#shared = {
      database,
      options,
      logger,
      leases: new AddressLeases(database),
      ports: new PortAllocator(),
      indexes: () => {
        indexes ??= new LinkIndexes(presentLinks());
        return indexes;
      },
      ipv6: readSysctl("net/ipv6/conf/all/disable_ipv6") !== undefined,
    };
    this.#networks = new NetworkTable(this.#records, (record) => this.#driver(record));
  }

  #driver(record: NetworkRecord): NetworkDriver {
    if (record.driver === "host") return hostNetwork(record);
    if (record.driver === "null") return nullNetwork(record);
    if (predefined.has(record.name)) {
      return new BridgeNetwork(record, defaultBridgeSettings(this.#options), this.#shared, {
        others: () => this.#users().flatMap(({ record: other }) => subnetsOf(other)),
        save: (config) => this.#records.saveNetwork({ ...record, config }),
      });
    }
    return new BridgeNetwork(record, userBridgeSettings(record), this.#shared);
  }

  #users(): Network[] {
    return this.#networks.all().filter(isUserDefined);
  }

  async start(): Promise<void> {
    for (const held of this.#records.sandboxes()) this.#held.set(held.containerId, held);
    this.#networks.load(this.#options.bridge !== "none");
    const bridge = this.#networks.find("bridge");
    await bridge?.driver.start(this.#publishedOn(bridge));
    for (const network of this.#users()) {
      try {
        await network.driver.start(this.#publishedOn(network));
      } catch (error) {
        // One that cannot be made costs itself alone; its containers' starts will say so.
        this.#logger.error("a network cannot be set up", {
          network: network.record.name,
          error: String(error),
        });
      }
    }
  }

  #publishedOn({ record }: Network): PublishedBefore {
    const holders = [...this.#held.values()].filter((held) => held.publishedOn === record.name);
    return new Map(
      holders.flatMap((held) => {
        const endpoint = held.endpoints[record.name];
        if (endpoint === undefined || held.published.length === 0) return [];
        return [[endpoint.EndpointID, { address: endpoint.IPAddress, ports: held.published }] as const];
      }),
    );
  }

  async allocate(request: SandboxRequest): Promise<Sandbox> {
    if (this.#held.has(request.containerId)) await this.release(request.containerId);
    if (request.mode.startsWith("container:")) return this.#share(request);
    const planned = planEndpoints(request, this.#networks);
    for (const { network, wishes } of planned) checkEndpointSettings(network, wishes);
    const ownNamespace = planned.every(({ network }) => network.driver.ownNamespace);
    const held = this.#hold(request, ownNamespace ? undefined : "default");
    const resolver = this.#resolver(request, ownNamespace);
    const embedded = planned.some(({ network }) => isUserDefined(network));
    if (ownNamespace) held.resolver = { ...resolverOf(resolver), embedded };
    const program = await joinNetworks({
      request,
      planned,
      held,
      wanted: wantedPorts(request, this.#options.ip),
      database: this.#database,
      kernelHasIpv6: this.#shared.ipv6,
      save: () => this.#save(held),
      undo: () => this.release(held.containerId),
    });
    if (embedded) {
      this.#tell(held);
      this.#redirects ??= canRedirect();
      program.resolver = resolverProgram(this.#redirects);
    }
    const addresses = Object.values(held.endpoints).flatMap(addressesOf);
    const hostGateway = this.#networks.find("bridge")?.driver.gateway;
    return {
      namespace: { kind: ownNamespace ? "new" : "host" },
      program: ownNamespace ? program : emptyProgram(),
      hosts: ownNamespace
        ? hostsFile({ ...request, addresses, hostGateway })
        : hostsFileOfHost(readOr("/etc/hosts", "127.0.0.1\tlocalhost\n"), { ...request, hostGateway }),
      resolvConf: resolvConf({ ...resolver, embedded }),
      endpoints: held.endpoints,
      ports: held.ports,
      sandboxId: held.sandboxId,
      sandboxKey: held.sandboxKey,
    };
  }

  /** In another container's namespace: nothing is held, so nothing has to be given back. */
  #share(request: SandboxRequest): Sandbox {
    const target = request.mode.slice("container:".length);
    const held = this.#held.get(target);
    if (held === undefined) {
      throw new BerthError("conflict", `cannot join network of a non running container: ${target}`, {
        operation: "join network",
        object: target,
        hint: "start that container first",
      });
    }
    const onHost = held.sandboxKey.endsWith("/default");
    return {
      namespace: onHost ? { kind: "host" } : { kind: "path", path: held.sandboxKey },
      program: emptyProgram(),
      hosts: "",
      resolvConf: "",
      endpoints: {},
      ports: {},
      sandboxId: "",
      sandboxKey: "",
    };
  }

  started(containerId: string, pid: number): void {
    const held = this.#held.get(containerId);
    if (held === undefined || held.sandboxKey.endsWith("/default")) return;
    this.#pids.set(containerId, pid);
    if (this.#dns.knows(containerId)) this.#dns.serve(containerId, pid);
    mkdirSync(dirname(held.sandboxKey), { recursive: true, mode: 0o711 });
    rmSync(held.sandboxKey, { force: true });
    symlinkSync(`/proc/${pid}/ns/net`, held.sandboxKey);
  }

  async release(containerId: string): Promise<void> {
    const held = this.#held.get(containerId);
    if (held === undefined) return;
    this.#held.delete(containerId);
    this.#pids.delete(containerId);
    this.#records.removeSandbox(containerId);
    this.#dns.forget(containerId);
    if (!held.sandboxKey.endsWith("/default")) rmSync(held.sandboxKey, { force: true });
    for (const [name, endpoint] of Object.entries(held.endpoints)) {
      const network = this.#networks.find(name);
      if (network === undefined) continue;
      this.#later(network.driver.leave(endpoint.EndpointID, name === held.publishedOn ? held.published : []));
      if (held.links[name] !== undefined) this.#sweepLater(network);
    }
  }

  async reconcile(running: ReadonlyMap<string, { pid: number }>): Promise<void> {
    for (const held of [...this.#held.values()]) {
      const process = running.get(held.containerId);
      if (process === undefined) {
        await this.release(held.containerId);
        continue;
      }
      this.started(held.containerId, process.pid);
      this.#tell(held);
      const endpoint = held.endpoints[held.publishedOn];
      if (endpoint === undefined || held.published.length === 0) continue;
      this.#networks.find(held.publishedOn)?.driver.resume(ownerOf(held, endpoint), held.published);
    }
    const endpoints = new Set(
      [...this.#held.values()].flatMap((held) =>
        Object.values(held.endpoints).map((endpoint) => endpoint.EndpointID),
      ),
    );
    for (const network of this.#networks.all()) {
      network.driver.releaseOthers(endpoints);
      this.#unswept.add(network);
    }
    await this.#sweepNow();
  }

  async connect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    const network = this.#networks.get(nameOrId);
    const wishes = request.endpoints[network.record.name] ?? {};
    checkEndpointSettings(network, wishes);
    const { held, pid } = this.#running(request);
    await joinRunning({ ...this.#change(request, held, pid), network, wishes });
    this.#tell(held);
    return addressesOf(held.endpoints[network.record.name]);
  }

  async disconnect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    const network = this.#networks.get(nameOrId);
    const { held, pid } = this.#running(request);
    const endpoint = held.endpoints[network.record.name];
    if (endpoint === undefined) {
      throw new BerthError(
        "internal",
        `container ${request.containerId} is not connected to network ${network.record.name}`,
        { operation: "disconnect network", object: network.record.name },
      );
    }
    await leaveRunning({ ...this.#change(request, held, pid), network });
    this.#tell(held);
    return addressesOf(endpoint);
  }

  #running(request: SandboxRequest): { held: HeldSandbox; pid: number } {
    const held = this.#held.get(request.containerId);
    const pid = this.#pids.get(request.containerId);
    if (held === undefined || pid === undefined) {
      throw new BerthError("conflict", `container ${request.name} has no network of its own`, {
        operation: "change network",
        object: request.name,
      });
    }
    return { held, pid };
  }

  #change(request: SandboxRequest, held: HeldSandbox, pid: number) {
    return {
      request,
      held,
      pid,
      wanted: wantedPorts(request, this.#options.ip),
      database: this.#database,
      networkOf: (name: string) => this.#networks.find(name),
      save: () => {
        held.ports = portMap(request.exposedPorts, held.published);
        this.#save(held);
      },
    };
  }

  rename(containerId: string, name: string): void {
    const held = this.#held.get(containerId);
    if (held === undefined) return;
    const former = held.name;
    held.name = name;
    for (const endpoint of Object.values(held.endpoints)) {
      if (endpoint.DNSNames === null) continue;
      endpoint.DNSNames = [...new Set(endpoint.DNSNames.map((known) => (known === former ? name : known)))];
    }
    this.#save(held);
    this.#tell(held);
  }

  checkEndpoint(name: string, settings: Partial<EndpointSettings>): void {
    checkEndpointSettings(this.#networks.ofMode(name), settings);
  }

  create(request: NetworkCreateRequest): Promise<NetworkResource> {
    return this.#oneAtATime(async () => {
      const record = composeNetwork(
        request,
        {
          networks: this.#networks.all().map((network) => network.record),
          usedByHost: () => withNetlink((netlink) => usedPrefixes(netlink, -1)),
          hasInterface: (name) => withNetlink((netlink) => findLink(netlink, name) !== undefined),
          kernelHasIpv6: this.#shared.ipv6,
        },
        this.#options,
      );
      const network = this.#networks.add(record);
      try {
        await network.driver.start(new Map());
      } catch (error) {
        this.#networks.hide(network);
        await network.driver.remove().catch(() => {
          // What made it fail may keep it from being undone; the first reason is the one to tell.
        });
        this.#networks.forget(network);
        throw error;
      }
      return this.inspect(record.id);
    });
  }

  remove(nameOrId: string): Promise<NetworkResource> {
    return this.#oneAtATime(async () => {
      const network = this.#networks.get(nameOrId);
      const { name, id } = network.record;
      if (predefined.has(name)) {
        throw new BerthError("forbidden", `${name} is a pre-defined network and cannot be removed`, {
          operation: "remove network",
          object: name,
        });
      }
      const resource = this.inspect(id);
      const users = Object.values(resource.Containers).map((container) => container.Name);
      if (users.length > 0) {
        throw new BerthError(
          "forbidden",
          `error while removing network: network ${name} id ${id} has active endpoints`,
          {
            operation: "remove network",
            object: name,
            hint: `these containers are on it: ${users.join(", ")}`,
          },
        );
      }
      // From here on nobody can join.
      this.#networks.hide(network);
      try {
        // Addresses of containers just gone may still be on their way back.
        await Promise.all(this.#background);
        await network.driver.remove();
      } catch (error) {
        this.#networks.show(network);
        throw error;
      }
      this.#networks.forget(network);
      this.#unswept.delete(network);
      return resource;
    });
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work);
    this.#changing = done.catch(() => {});
    return done;
  }

  settings(
    containerId: string,
  ): Pick<Sandbox, "endpoints" | "ports" | "sandboxId" | "sandboxKey"> | undefined {
    return this.#held.get(containerId);
  }

  list(): NetworkResource[] {
    return this.#networks
      .all()
      .map(({ record }) => networkResource(record, this.#held.values(), this.#options));
  }

  inspect(nameOrId: string): NetworkResource {
    return networkResource(this.#networks.get(nameOrId).record, this.#held.values(), this.#options);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#sweep);
    await this.#dns.close();
    await this.#changing;
    await Promise.all(this.#background);
    await Promise.all(this.#networks.all().map((network) => network.driver.stop()));
    this.#shared.ports.releaseAll();
  }

  resolvConf(request: SandboxRequest): string {
    const embedded = this.#held.get(request.containerId)?.resolver.embedded ?? false;
    return resolvConf({ ...this.#resolver(request, true), embedded });
  }

  #hold(request: SandboxRequest, key?: string): HeldSandbox {
    const sandboxId = randomId();
    return {
      containerId: request.containerId,
      name: request.name,
      sandboxId,
      sandboxKey: joinPath(this.#options.execRoot, "netns", key ?? sandboxId.slice(0, 12)),
      endpoints: {},
      ports: {},
      published: [],
      publishedOn: "",
      links: {},
      resolver: { servers: [], hostServers: true, keepsShortNames: false, embedded: false },
    };
  }

  #save(held: HeldSandbox): void {
    this.#records.saveSandbox(held);
    this.#held.set(held.containerId, held);
  }

  #tell(held: HeldSandbox): void {
    const { containerId } = held;
    const names = toldNames(held, (name) => this.#networks.find(name));
    if (names !== undefined && !held.resolver.embedded) {
      held.resolver.embedded = true;
      this.#save(held);
    }
    if (names === undefined) {
      this.#dns.forget(containerId);
      return;
    }
    this.#dns.setNames(names);
    const pid = this.#pids.get(containerId);
    if (pid !== undefined) this.#dns.serve(containerId, pid);
  }

  #resolver(request: SandboxRequest, ownNamespace: boolean): ResolverRequest {
    const either = (own: string[], daemon: string[]): string[] => (own.length > 0 ? own : daemon);
    let hostFile = readOr("/etc/resolv.conf", "");
    if (ownNamespace && isStubResolver(hostFile)) {
      hostFile = readOr("/run/systemd/resolve/resolv.conf", hostFile);
    }
    return {
      hostFile,
      dns: either(request.dns, this.#options.dns),
      dnsSearch: either(request.dnsSearch, this.#options.dnsSearch),
      dnsOptions: either(request.dnsOptions, this.#options.dnsOptions),
      ownNamespace,
    };
  }

  #later(work: Promise<void>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }

  /** A link outlives its container when something still holds the namespace: nobody else would ever delete it. */
  #sweepLater(network: Network): void {
    this.#unswept.add(network);
    if (this.#sweep !== undefined) return;
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined;
      this.#later(this.#sweepNow());
    }, sweepDelay).unref();
  }

  async #sweepNow(): Promise<void> {
    const keep = () =>
      new Set([...this.#held.values()].flatMap((held) => Object.values(held.links).map(({ veth }) => veth)));
    for (const network of this.#unswept) {
      this.#unswept.delete(network);
      try {
        await network.driver.sweepLinks(keep);
      } catch (error) {
        this.#logger.warn("removing left-over links failed", { error: String(error) });
      }
    }
  }
}

/** Where a container's questions go that are not about containers. */
function resolverOf(request: ResolverRequest): Omit<HeldSandbox["resolver"], "embedded"> {
  return {
    servers: [...upstreamServers(request)],
    hostServers: request.dns.length === 0,
    keepsShortNames: request.dnsOptions.some((option) => /^ndots:[1-9]/.test(option)),
  };
}

function addressesOf(endpoint: EndpointSettings | undefined): string[] {
  return [endpoint?.IPAddress ?? "", endpoint?.GlobalIPv6Address ?? ""].filter((address) => address !== "");
}

function withNetlink<T>(work: (netlink: NetlinkSocket) => T): T {
  using netlink = new NetlinkSocket();
  return work(netlink);
}

function presentLinks() {
  return withNetlink(readLinks);
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A host without the file is as one with an empty one.
    return fallback;
  }
}
