/**
 * The network controller: the networks there are, and what every running container holds of them.
 *
 * Owns the rows of networks and sandboxes; the drivers own what is on the host. It decides which networks a container
 * joins, in what order, and which of them leads out; joining.ts and, for running ones, membership-changes.ts carry it out.
 */
import type { EndpointSettings, NetworkCreateRequest, NetworkResource } from "#api-types/network.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import type { KeepSockets } from "#networks/dns/dns-service.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { checkEndpointSettings } from "#networks/endpoint-check.ts";
import { isUserDefined, planEndpoints } from "#networks/endpoint-plan.ts";
import { networkResource } from "#networks/endpoint-settings.ts";
import { LinkSweeper } from "#networks/link-sweeper.ts";
import { NetworkAdmin } from "#networks/network-admin.ts";
import { type DriverParts, NetworkDrivers } from "#networks/network-drivers.ts";
import {
  type DamagedRow,
  type HeldSandbox,
  type NetworkRecord,
  NetworkRecords,
} from "#networks/network-record.ts";
import { type Network, NetworkTable } from "#networks/network-table.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { wantedPorts } from "#networks/ports/port-spec.ts";
import { resolvConf } from "#networks/resolv-conf.ts";
import { resolverOf, resolverRequest } from "#networks/resolver-choice.ts";
import { ContainerNaming } from "#networks/sandbox/container-naming.ts";
import { HeldSandboxes } from "#networks/sandbox/held-sandboxes.ts";
import { joinNetworks, ownerOf } from "#networks/sandbox/joining.ts";
import { type LinkedPeer, permitPeers, restorePermits } from "#networks/sandbox/linked-endpoints.ts";
import { MembershipChanges } from "#networks/sandbox/membership-changes.ts";
import { hostGateways, sandboxFiles } from "#networks/sandbox/sandbox-files.ts";
import { sharedSandbox } from "#networks/sandbox/shared-sandbox.ts";
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
  readonly #naming: ContainerNaming;
  readonly #drivers: NetworkDrivers;
  readonly #networks: NetworkTable;
  readonly #networkOf = (name: string) => this.#networks.find(name);
  readonly #database: Database;
  readonly #sandboxes: HeldSandboxes;
  readonly #background = new Set<Promise<void>>();
  readonly #sweeper: LinkSweeper;
  readonly #admin: NetworkAdmin;
  readonly #changes: MembershipChanges;

  constructor(database: Database, options: NetworkOptions, parts: ControllerParts & { logger: Logger }) {
    const { logger, plugins, keepSockets } = parts;
    this.#options = options;
    this.#logger = logger;
    this.#database = database;
    const records = new NetworkRecords(database);
    this.#sandboxes = new HeldSandboxes(records, options.execRoot);
    const others = {
      records: () => this.#users().map(({ record }) => record),
      save: (record: NetworkRecord) => records.saveNetwork(record),
    };
    this.#drivers = new NetworkDrivers(database, options, others, parts);
    this.#networks = new NetworkTable(records, (record) => this.#drivers.make(record));
    this.#naming = new ContainerNaming(this.#sandboxes, this.#networkOf, keepSockets, logger);
    this.#sweeper = new LinkSweeper(
      () => this.#sandboxes.links(),
      (work) => this.#later(work),
      logger,
    );
    this.#changes = new MembershipChanges({
      sandboxes: this.#sandboxes,
      naming: this.#naming,
      networkOf: this.#networkOf,
      database,
      giveBack: (held) => this.#giveBack(held),
      logger,
    });
    this.#admin = new NetworkAdmin({
      table: this.#networks,
      options,
      plugins,
      kernelHasIpv6: this.#drivers.kernelHasIpv6,
      usersOf: ({ record }) => this.#sandboxes.usersOf(record.name),
      settled: async () => void (await Promise.all(this.#background)),
      logger,
    });
  }

  #users(): Network[] {
    return this.#networks.all().filter(isUserDefined);
  }

  async start(): Promise<void> {
    const onDamage = (damaged: DamagedRow) =>
      this.#logger.error("a damaged record of the networks was set aside", { ...damaged });
    this.#sandboxes.load(onDamage);
    this.#networks.load(this.#options.bridge !== "none", onDamage);
    for (const { addresses } of this.#networks.all()) addresses?.replay();
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
    await this.#admin.finishRemovals();
  }

  async allocate(request: SandboxRequest): Promise<Sandbox> {
    if (this.#sandboxes.get(request.containerId) !== undefined) await this.release(request.containerId);
    if (request.mode.startsWith("container:")) return sharedSandbox(request, this.#sandboxes);
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
      this.#naming.tell(held);
      program.resolver = this.#naming.program();
    }
    return {
      namespace: { kind: ownNamespace ? "new" : "host" },
      program: ownNamespace ? program : emptyProgram(),
      ...sandboxFiles({
        request,
        ownNamespace,
        endpoints: held.endpoints,
        resolver,
        embedded,
        hostGateways: hostGateways(this.#options, this.#networks.find("bridge")),
      }),
      endpoints: held.endpoints,
      ports: held.ports,
      sandboxId: held.sandboxId,
      sandboxKey: held.sandboxKey,
    };
  }

  started(containerId: string, pid: number): void {
    if (this.#sandboxes.started(containerId, pid)) this.#naming.started(containerId, pid);
  }

  async release(containerId: string): Promise<void> {
    const held = this.#sandboxes.get(containerId);
    try {
      this.#sandboxes.drop(containerId);
    } finally {
      // A row that cannot be removed keeps nobody's address and ports: the next daemon finds it, and gives back nothing.
      if (held !== undefined) this.#giveBack(held);
    }
  }

  /** May be repeated. */
  #giveBack(held: HeldSandbox): void {
    this.#naming.forget(held.containerId);
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
        await this.release(held.containerId).catch((error: unknown) =>
          this.#logger.error("what a container had of its networks cannot be forgotten yet", {
            container: held.name,
            error: String(error),
          }),
        );
        continue;
      }
      this.started(held.containerId, process.pid);
      this.#naming.tell(held);
      const endpoint = held.endpoints[held.publishedOn];
      if (endpoint === undefined || held.published.length === 0) continue;
      this.#networks.find(held.publishedOn)?.driver.resume(ownerOf(held, endpoint), held.published);
    }
    for (const held of this.#sandboxes.all()) await this.#changes.finish(held);
    this.#drivers.forgetUnclaimedPorts();
    if (!this.#sandboxes.holdsUnknown(running)) {
      const endpoints = this.#sandboxes.endpointIds();
      for (const { driver, addresses } of this.#networks.all()) {
        driver.releaseOthers(endpoints);
        addresses?.releaseOthers(endpoints);
      }
    }
    await this.#sweeper.now(this.#networks.all());
  }

  async connect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    return this.#changes.connect(request, this.#networks.get(nameOrId));
  }

  async disconnect(request: SandboxRequest, nameOrId: string): Promise<string[]> {
    return this.#changes.disconnect(request, this.#networks.get(nameOrId));
  }

  async permit(containerId: string, peers: readonly LinkedPeer[]): Promise<void> {
    const held = this.#sandboxes.get(containerId);
    const bridge = this.#networks.find("bridge");
    if (held !== undefined && bridge !== undefined) await permitPeers(bridge, held, peers, this.#sandboxes);
  }

  rename(containerId: string, name: string): void {
    const held = this.#sandboxes.get(containerId);
    if (held !== undefined) this.#naming.rename(held, name);
  }

  checkEndpoint(name: string, settings: Partial<EndpointSettings>): void {
    checkEndpointSettings(this.#networks.ofMode(name), settings);
  }

  async create(request: NetworkCreateRequest): Promise<NetworkResource> {
    return this.inspect((await this.#admin.create(request)).id);
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
    await this.#naming.close();
    await this.#admin.settled();
    await Promise.all(this.#background);
    await Promise.all(this.#networks.all().map((network) => network.driver.stop()));
    await this.#drivers.stopFirewall();
    this.#drivers.releasePorts();
  }

  embeddedResolvConf(request: SandboxRequest): { former: string; current: string } | undefined {
    if (this.#sandboxes.get(request.containerId)?.resolver.embedded !== true) return undefined;
    const resolver = resolverRequest(request, this.#options, true);
    return {
      former: resolvConf({ ...resolver, embedded: false }),
      current: resolvConf({ ...resolver, embedded: true }),
    };
  }

  #later(work: Promise<void>): void {
    const done = work.catch((error: unknown) =>
      this.#logger.error("giving back what a container had of its networks failed", { error: String(error) }),
    );
    this.#background.add(done);
    void done.finally(() => this.#background.delete(done));
  }
}
