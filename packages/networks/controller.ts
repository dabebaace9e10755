/**
 * The network controller: the networks there are, and what every running container holds of them.
 *
 * Owns the rows of networks and sandboxes; the drivers own what is on the host. It decides which networks a container
 * joins, in what order, and which of them leads out; joining.ts and changing a running one (changes.ts) carry it out.
 */
import type { EndpointSettings, NetworkCreateRequest, NetworkResource } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { DnsService, type KeepSockets } from "#networks/dns/dns-service.ts";
import { resolverProgram } from "#networks/dns/resolver-program.ts";
import { canRedirect } from "#networks/dns/resolver-sockets.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { checkEndpointSettings } from "#networks/endpoint-check.ts";
import { isUserDefined, planEndpoints } from "#networks/endpoint-plan.ts";
import { networkResource } from "#networks/endpoint-settings.ts";
import { hostsFile, hostsFileOfHost } from "#networks/hosts-file.ts";
import { LinkSweeper } from "#networks/link-sweeper.ts";
import { NetworkAdmin } from "#networks/network-admin.ts";
import { type DriverParts, NetworkDrivers } from "#networks/network-drivers.ts";
import { type HeldSandbox, type NetworkRecord, NetworkRecords } from "#networks/network-record.ts";
import { type Network, NetworkTable } from "#networks/network-table.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { portMap, wantedPorts } from "#networks/ports/port-spec.ts";
import { resolvConf } from "#networks/resolv-conf.ts";
import { readOr, resolverOf, resolverRequest } from "#networks/resolver-choice.ts";
import { joinRunning, leaveRunning } from "#networks/sandbox/changes.ts";
import { HeldSandboxes, isHosts } from "#networks/sandbox/held-sandboxes.ts";
import { joinNetworks, ownerOf } from "#networks/sandbox/joining.ts";
import { type LinkedPeer, permitPeers, restorePermits } from "#networks/sandbox/linked-endpoints.ts";
import { toldNames } from "#networks/told-names.ts";
import { Plugins } from "#plugins/plugins.ts";
import type { Database } from "#state/database.ts";

export { networkMigrations } from "#networks/schema.ts";

/** What the daemon has for the controller. */
export interface ControllerParts extends Omit<DriverParts, "logger"> {
  keepSockets: KeepSockets;
}

/** Makes the controller; nothing on the host changes before `start()`. */
export function createNetworkController(
  database: Database,
  options: NetworkOptions,
  logger: Logger = silentLogger,
  given: Partial<ControllerParts> = {},
): NetworkController {
  const parts = {
    plugins: new Plugins({ sockets: [], specs: [] }),
    launcherPath: undefined,
    keepSockets: () => undefined,
    ...given,
  };
  return new Controller(database, options, { logger, ...parts });
}

class Controller implements NetworkController {
  readonly #options: NetworkOptions;
  readonly #logger: Logger;
  readonly #dns: DnsService;
  readonly #drivers: NetworkDrivers;
  readonly #networks: NetworkTable;
  readonly #database: Database;
  readonly #sandboxes: HeldSandboxes;
  readonly #background = new Set<Promise<void>>();
  readonly #sweeper: LinkSweeper;
  readonly #admin: NetworkAdmin;
  /** Has the kernel what leads questions to the name server? Known once one was asked for. */
  #redirects: boolean | undefined;

  constructor(database: Database, options: NetworkOptions, parts: ControllerParts & { logger: Logger }) {
    const { logger, plugins, keepSockets } = parts;
    this.#options = options;
    this.#logger = logger;
    this.#dns = new DnsService(keepSockets, logger);
    this.#database = database;
    const records = new NetworkRecords(database);
    this.#sandboxes = new HeldSandboxes(records, options.execRoot);
    const others = {
      records: () => this.#users().map(({ record }) => record),
      save: (record: NetworkRecord) => records.saveNetwork(record),
    };
    this.#drivers = new NetworkDrivers(database, options, others, parts);
    this.#networks = new NetworkTable(records, (record) => this.#drivers.make(record));
    this.#sweeper = new LinkSweeper(
      () => this.#sandboxes.links(),
      (work) => this.#later(work),
      logger,
    );
    this.#admin = new NetworkAdmin({
      table: this.#networks,
      options,
      plugins,
      kernelHasIpv6: this.#drivers.kernelHasIpv6,
      usersOf: ({ record }) => this.#sandboxes.usersOf(record.name),
      settled: async () => void (await Promise.all(this.#background)),
    });
  }

  #users(): Network[] {
    return this.#networks.all().filter(isUserDefined);
  }

  async start(): Promise<void> {
    this.#sandboxes.load();
    this.#networks.load(this.#options.bridge !== "none");
    await this.#drivers.findProxy();
    await this.#drivers.startFirewall(this.#networks.all().map(({ record }) => record));
    const start = ({ record, driver }: Network) => driver.start(this.#sandboxes.publishedOn(record.name));
    const bridge = this.#networks.find("bridge");
    if (bridge !== undefined) {
      await restorePermits(bridge, this.#sandboxes);
      await start(bridge);
    }
    // Side by side: the rules of all of them are one change.
    await Promise.all(
      this.#users().map((network) =>
        start(network).catch((error: unknown) => {
          // One that cannot be made costs itself alone; its containers' starts will say so.
          this.#logger.error("a network cannot be set up", {
            network: network.record.name,
            error: String(error),
          });
        }),
      ),
    );
  }

  async allocate(request: SandboxRequest): Promise<Sandbox> {
    if (this.#sandboxes.get(request.containerId) !== undefined) await this.release(request.containerId);
    if (request.mode.startsWith("container:")) return this.#share(request);
    const planned = planEndpoints(request, this.#networks);
    for (const { network, wishes } of planned) checkEndpointSettings(network, wishes);
    const ownNamespace = planned.every(({ network }) => network.driver.ownNamespace);
    const held = this.#sandboxes.compose(request, ownNamespace);
    const resolver = resolverRequest(request, this.#options, ownNamespace);
    const embedded = planned.some(({ network }) => isUserDefined(network));
    if (ownNamespace) held.resolver = { ...resolverOf(resolver), embedded };
    const program = await joinNetworks({
      request,
      planned,
      held,
      wanted: wantedPorts(request),
      database: this.#database,
      kernelHasIpv6: this.#drivers.kernelHasIpv6,
      save: () => this.#sandboxes.save(held),
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
    const held = this.#sandboxes.get(target);
    if (held === undefined) {
      throw new BerthError("conflict", `cannot join network of a non running container: ${target}`, {
        operation: "join network",
        object: target,
        hint: "start that container first",
      });
    }
    return {
      namespace: isHosts(held) ? { kind: "host" } : { kind: "path", path: held.sandboxKey },
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
    if (!this.#sandboxes.started(containerId, pid)) return;
    if (this.#dns.knows(containerId)) this.#dns.serve(containerId, pid);
  }

  async release(containerId: string): Promise<void> {
    const held = this.#sandboxes.take(containerId);
    if (held === undefined) return;
    this.#dns.forget(containerId);
    for (const [name, endpoint] of Object.entries(held.endpoints)) {
      const network = this.#networks.find(name);
      if (network === undefined) continue;
      const { EndpointID } = endpoint;
      this.#later(network.driver.leave(EndpointID, name === held.publishedOn ? held.published : []));
      network.addresses?.release(EndpointID);
      if (held.links[name] !== undefined) this.#sweeper.later(network);
    }
  }

  async reconcile(running: ReadonlyMap<string, { pid: number }>): Promise<void> {
    for (const held of this.#sandboxes.all()) {
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
    this.#drivers.forgetUnclaimedPorts();
    const endpoints = this.#sandboxes.endpointIds();
    for (const { driver, addresses } of this.#networks.all()) {
      driver.releaseOthers(endpoints);
      addresses?.releaseOthers(endpoints);
    }
    await this.#sweeper.now(this.#networks.all());
  }

  async connect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    const network = this.#networks.get(nameOrId);
    const wishes = request.endpoints[network.record.name] ?? {};
    checkEndpointSettings(network, wishes);
    const { held, pid } = this.#sandboxes.running(request);
    await joinRunning({ ...this.#change(request, held, pid), network, wishes });
    this.#tell(held);
    await this.#dns.ready(held.containerId);
    return addressesOf(held.endpoints[network.record.name]);
  }

  async disconnect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    const network = this.#networks.get(nameOrId);
    const { held, pid } = this.#sandboxes.running(request);
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

  #change(request: SandboxRequest, held: HeldSandbox, pid: number) {
    return {
      request,
      held,
      pid,
      wanted: wantedPorts(request),
      database: this.#database,
      networkOf: (name: string) => this.#networks.find(name),
      save: () => {
        held.ports = portMap(request.exposedPorts, held.published);
        this.#sandboxes.save(held);
      },
    };
  }

  async permit(containerId: string, peers: readonly LinkedPeer[]): Promise<void> {
    const held = this.#sandboxes.get(containerId);
    const bridge = this.#networks.find("bridge");
    if (held !== undefined && bridge !== undefined) await permitPeers(bridge, held, peers, this.#sandboxes);
  }

  rename(containerId: string, name: string): void {
    const held = this.#sandboxes.get(containerId);
    if (held === undefined) return;
    const former = held.name;
    held.name = name;
    for (const endpoint of Object.values(held.endpoints)) {
      if (endpoint.DNSNames === null) continue;
      endpoint.DNSNames = [...new Set(endpoint.DNSNames.map((known) => (known === former ? name : known)))];
    }
    this.#sandboxes.save(held);
    this.#tell(held);
  }

  checkEndpoint(name: string, settings: Partial<EndpointSettings>): void {
    checkEndpointSettings(this.#networks.ofMode(name), settings);
  }

  async create(request: NetworkCreateRequest): Promise<NetworkResource> {
    const { id } = await this.#admin.create(request);
    return this.inspect(id);
  }

  async remove(nameOrId: string): Promise<NetworkResource> {
    const network = await this.#admin.remove(nameOrId);
    this.#sweeper.forget(network);
    return networkResource(network.record, [], this.#options);
  }

  settings(
    containerId: string,
  ): Pick<Sandbox, "endpoints" | "ports" | "sandboxId" | "sandboxKey"> | undefined {
    return this.#sandboxes.get(containerId);
  }

  list(): NetworkResource[] {
    return this.#networks
      .all()
      .map(({ record }) => networkResource(record, this.#sandboxes.all(), this.#options));
  }

  inspect(nameOrId: string): NetworkResource {
    return networkResource(this.#networks.get(nameOrId).record, this.#sandboxes.all(), this.#options);
  }

  async stop(): Promise<void> {
    this.#sweeper.stop();
    await this.#dns.close();
    await this.#admin.settled();
    await Promise.all(this.#background);
    await Promise.all(this.#networks.all().map((network) => network.driver.stop()));
    await this.#drivers.stopFirewall();
    this.#drivers.releasePorts();
  }

  resolvConf(request: SandboxRequest): string {
    const embedded = this.#sandboxes.get(request.containerId)?.resolver.embedded ?? false;
    return resolvConf({ ...resolverRequest(request, this.#options, true), embedded });
  }

  #tell(held: HeldSandbox): void {
    const { containerId } = held;
    const names = toldNames(held, (name) => this.#networks.find(name));
    if (names !== undefined && !held.resolver.embedded) {
      held.resolver.embedded = true;
      this.#sandboxes.save(held);
    }
    if (names === undefined) {
      this.#dns.forget(containerId);
      return;
    }
    this.#dns.setNames(names);
    const pid = this.#sandboxes.pidOf(containerId);
    if (pid !== undefined) this.#dns.serve(containerId, pid);
  }

  #later(work: Promise<void>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }
}

function addressesOf(endpoint: EndpointSettings | undefined): string[] {
  return [endpoint?.IPAddress ?? "", endpoint?.GlobalIPv6Address ?? ""].filter((address) => address !== "");
}
