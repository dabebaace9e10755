/**
 * The network controller: the networks there are, and what every running container holds of them.
 *
 * Owns the rows of networks and sandboxes and decides which driver joins a container; the drivers do the joining.
 * It sends nothing into a container's namespace: that is what the launcher does with the program it answers.
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join as joinPath } from "node:path";
import type { NetworkResource } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { BridgeNetwork } from "#networks/drivers/bridge.ts";
import { joinHost } from "#networks/drivers/host.ts";
import { joinNone } from "#networks/drivers/null.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { networkResource } from "#networks/endpoint-settings.ts";
import { hostsFile, hostsFileOfHost } from "#networks/hosts-file.ts";
import { type HeldSandbox, NetworkRecords, randomId } from "#networks/network-record.ts";
import { NetworkTable } from "#networks/network-table.ts";
import type { NetworkController, NetworkOptions, Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { portMap, wantedPorts } from "#networks/ports/port-spec.ts";
import { isStubResolver, resolvConf } from "#networks/resolv-conf.ts";
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
  readonly #records: NetworkRecords;
  readonly #networks: NetworkTable;
  readonly #bridge: BridgeNetwork;
  readonly #held = new Map<string, HeldSandbox>();
  readonly #background = new Set<Promise<void>>();
  #sweep: NodeJS.Timeout | undefined;

  constructor(database: Database, options: NetworkOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
    this.#records = new NetworkRecords(database);
    this.#networks = new NetworkTable(this.#records);
    this.#bridge = new BridgeNetwork(database, options, logger);
  }

  async start(): Promise<void> {
    for (const held of this.#records.sandboxes()) this.#held.set(held.containerId, held);
    this.#networks.load(this.#options.bridge !== "none");
    const bridge = this.#networks.find("bridge");
    if (bridge === undefined) return;
    const published = new Map(
      [...this.#held.values()].flatMap((held) => {
        const endpoint = held.endpoints[bridge.name];
        if (endpoint === undefined || held.published.length === 0) return [];
        return [[endpoint.EndpointID, { address: endpoint.IPAddress, ports: held.published }] as const];
      }),
    );
    await this.#bridge.start(bridge, published, (config) => this.#networks.update(bridge, config));
  }

  async allocate(request: SandboxRequest): Promise<Sandbox> {
    if (this.#held.has(request.containerId)) await this.release(request.containerId);
    if (request.mode.startsWith("container:")) return this.#share(request);
    const network = this.#networks.ofMode(request.mode);
    if (network.driver === "bridge") return await this.#joinBridge(request);
    const joined = network.driver === "host" ? joinHost(network) : joinNone(network);
    const held = this.#hold(request, network.driver === "host" ? "default" : undefined);
    held.endpoints = joined.endpoints;
    this.#records.saveSandbox(held);
    this.#held.set(held.containerId, held);
    return { ...this.#describe(request, held, network.driver !== "host"), ...joined };
  }

  async #joinBridge(request: SandboxRequest): Promise<Sandbox> {
    const network = this.#networks.get("bridge");
    const wishes = request.endpoints[network.name] ?? request.endpoints.default ?? {};
    if (wishes.IPAMConfig?.IPv4Address || wishes.IPAMConfig?.IPv6Address) {
      throw new BerthError(
        "invalid",
        "user specified IP address is supported on user defined networks only",
        {
          operation: "create endpoint",
          object: request.name,
        },
      );
    }
    const held = this.#hold(request);
    const joined = await this.#bridge
      .join(
        network,
        {
          containerId: request.containerId,
          name: request.name,
          macAddress: request.macAddress || wishes.MacAddress || "",
        },
        wantedPorts(request, this.#options.ip),
        (endpoint) => {
          held.endpoints = { [network.name]: { ...endpoint.settings, Aliases: wishes.Aliases ?? null } };
          held.published = endpoint.published;
          held.ports = portMap(request.exposedPorts, endpoint.published);
          held.veths = [endpoint.veth];
          this.#records.saveSandbox(held);
          this.#held.set(held.containerId, held);
        },
      )
      .catch((error: unknown) => {
        this.#held.delete(held.containerId);
        this.#records.removeSandbox(held.containerId);
        throw error;
      });
    return {
      ...this.#describe(request, held, true),
      namespace: { kind: "new" },
      program: joined.program,
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
    mkdirSync(dirname(held.sandboxKey), { recursive: true, mode: 0o711 });
    rmSync(held.sandboxKey, { force: true });
    symlinkSync(`/proc/${pid}/ns/net`, held.sandboxKey);
  }

  async release(containerId: string): Promise<void> {
    const held = this.#held.get(containerId);
    if (held === undefined) return;
    this.#held.delete(containerId);
    this.#records.removeSandbox(containerId);
    if (!held.sandboxKey.endsWith("/default")) rmSync(held.sandboxKey, { force: true });
    if (held.veths.length === 0) return;
    for (const endpoint of Object.values(held.endpoints)) {
      const work = this.#bridge.leave(endpoint.EndpointID, held.published);
      this.#background.add(work);
      void work.finally(() => this.#background.delete(work));
    }
    this.#sweepLater();
  }

  async reconcile(running: ReadonlyMap<string, { pid: number }>): Promise<void> {
    for (const held of [...this.#held.values()]) {
      const process = running.get(held.containerId);
      if (process === undefined) {
        await this.release(held.containerId);
        continue;
      }
      this.started(held.containerId, process.pid);
      for (const endpoint of Object.values(held.endpoints)) {
        if (held.published.length > 0) this.#bridge.resume(held.name, endpoint, held.published);
      }
    }
    const bridge = this.#networks.find("bridge");
    if (bridge === undefined) return;
    const endpoints = [...this.#held.values()].flatMap((held) =>
      Object.values(held.endpoints).map((endpoint) => endpoint.EndpointID),
    );
    this.#bridge.releaseOthers(bridge, new Set(endpoints));
    await this.#sweepNow();
  }

  settings(
    containerId: string,
  ): Pick<Sandbox, "endpoints" | "ports" | "sandboxId" | "sandboxKey"> | undefined {
    return this.#held.get(containerId);
  }

  list(): NetworkResource[] {
    return this.#networks.all().map((record) => networkResource(record, this.#held.values(), this.#options));
  }

  inspect(nameOrId: string): NetworkResource {
    return networkResource(this.#networks.get(nameOrId), this.#held.values(), this.#options);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#sweep);
    await Promise.all(this.#background);
    await this.#bridge.stop();
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
      veths: [],
    };
  }

  #describe(
    request: SandboxRequest,
    held: HeldSandbox,
    ownNamespace: boolean,
  ): Omit<Sandbox, "namespace" | "program"> {
    const addresses = Object.values(held.endpoints).map((endpoint) => endpoint.IPAddress);
    const hostGateway = this.#bridge.gateway;
    const hosts = ownNamespace
      ? hostsFile({ ...request, addresses: addresses.filter(Boolean), hostGateway })
      : hostsFileOfHost(readOr("/etc/hosts", "127.0.0.1\tlocalhost\n"), { ...request, hostGateway });
    return {
      hosts,
      resolvConf: this.#resolvConf(request, ownNamespace),
      endpoints: held.endpoints,
      ports: held.ports,
      sandboxId: held.sandboxId,
      sandboxKey: held.sandboxKey,
    };
  }

  #resolvConf(request: SandboxRequest, ownNamespace: boolean): string {
    const either = (own: string[], daemon: string[]): string[] => (own.length > 0 ? own : daemon);
    let hostFile = readOr("/etc/resolv.conf", "");
    if (ownNamespace && isStubResolver(hostFile)) {
      hostFile = readOr("/run/systemd/resolve/resolv.conf", hostFile);
    }
    return resolvConf({
      hostFile,
      dns: either(request.dns, this.#options.dns),
      dnsSearch: either(request.dnsSearch, this.#options.dnsSearch),
      dnsOptions: either(request.dnsOptions, this.#options.dnsOptions),
      ownNamespace,
    });
  }

  /** A link outlives its container when something still holds the namespace: nobody else would ever delete it. */
  #sweepLater(): void {
    if (this.#sweep !== undefined) return;
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined;
      const work = this.#sweepNow();
      this.#background.add(work);
      void work.finally(() => this.#background.delete(work));
    }, sweepDelay).unref();
  }

  async #sweepNow(): Promise<void> {
    try {
      await this.#bridge.sweepLinks(() => new Set([...this.#held.values()].flatMap((held) => held.veths)));
    } catch (error) {
      this.#logger.warn("removing left-over links failed", { error: String(error) });
    }
  }
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A host without the file is as one with an empty one.
    return fallback;
  }
}
