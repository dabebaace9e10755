/**
 * Networks as the API sees them: made, removed, joined and left, with the events that tell of it. The controller does
 * the work; what belongs to a container (its record, its files, its queue) is seen to here.
 */
import { setImmediate } from "node:timers/promises";
import type {
  EndpointSettings,
  NetworkConnectRequest,
  NetworkCreateRequest,
  NetworkDisconnectRequest,
  NetworkResource,
} from "#api-types/network.ts";
import type { Container } from "#engine/containers/container.ts";
import { untilMilliseconds } from "#engine/containers/container-filters.ts";
import { saveSurely } from "#engine/containers/exit.ts";
import { checkPruneFilters } from "#engine/containers/prune-containers.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { Filters, NetworkService } from "#engine/engine-types.ts";
import { sandboxRequest } from "#engine/launch/sandbox-request.ts";
import { wishesOf } from "#engine/networking/endpoint-wishes.ts";
import { addOwnAddresses, removeOwnAddresses } from "#engine/networking/hosts-lines.ts";
import { pointToNameServer } from "#engine/networking/resolver-file.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";

export class Networks implements NetworkService {
  readonly #context: EngineContext;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  list(): NetworkResource[] {
    return this.#context.networks.list();
  }

  inspect(nameOrId: string): NetworkResource {
    return this.#context.networks.inspect(nameOrId);
  }

  async create(request: NetworkCreateRequest): Promise<{ Id: string; Warning: string }> {
    const network = await this.#context.networks.create(request);
    this.#publish("create", network);
    return { Id: network.Id, Warning: "" };
  }

  async remove(nameOrId: string): Promise<void> {
    this.#publish("destroy", await this.#context.networks.remove(nameOrId));
  }

  async prune(filters: Filters): Promise<{ NetworksDeleted: string[] | null }> {
    checkPruneFilters(filters, ["label", "label!", "until"], "prune networks");
    const [until] = filters.until ?? [];
    const limit = until === undefined ? Number.POSITIVE_INFINITY : untilMilliseconds(until);
    const deleted: string[] = [];
    for (const network of this.list()) {
      if (!isPrunable(network, filters, limit)) continue;
      try {
        await this.remove(network.Id);
        deleted.push(network.Name);
      } catch (error) {
        // Somebody joined or removed it meanwhile, or it is the daemon's own.
        if (!isBerthError(error, "forbidden") && !isBerthError(error, "not-found")) throw error;
      }
    }
    this.#context.events.publish("network", "prune", "", { reclaimed: "0" });
    return { NetworksDeleted: deleted.length > 0 ? deleted : null };
  }

  async connect(nameOrId: string, request: NetworkConnectRequest): Promise<void> {
    const container = this.#context.containers.get(request.Container ?? "");
    const network = this.inspect(nameOrId);
    await this.#inTurn(container, () => this.#connect(container, network, request.EndpointConfig ?? {}));
  }

  async disconnect(nameOrId: string, request: NetworkDisconnectRequest): Promise<void> {
    const name = request.Container ?? "";
    // By force, what a container left behind may be taken off too; nothing ever is.
    if (request.Force && this.#context.containers.find(name) === undefined) {
      throw new BerthError("not-found", `endpoint ${name} not found`, {
        operation: "disconnect network",
        object: this.inspect(nameOrId).Name,
      });
    }
    const container = this.#context.containers.get(name);
    const network = this.inspect(nameOrId);
    await this.#inTurn(container, () => this.#disconnect(container, network));
  }

  /** When what is under way with the container is done, and its network is known. */
  #inTurn(container: Container, work: () => Promise<void>): Promise<void> {
    return this.#context.containers.inTurn(container.id, async () => {
      // A start has answered, and what follows it comes in this turn of the event loop: its namespace is known then.
      await setImmediate();
      await work();
    });
  }

  async #connect(
    container: Container,
    network: NetworkResource,
    settings: Partial<EndpointSettings>,
  ): Promise<void> {
    const { networks, containers } = this.#context;
    const { record } = container;
    checkMode(container, network);
    const wishes = wishesOf(settings);
    networks.checkEndpoint(network.Name, wishes);
    if (record.endpoints[network.Name] !== undefined && container.isRunning) {
      throw refused(`endpoint with name ${record.name} already exists in network ${network.Name}`, network);
    }
    const former = record.endpoints;
    record.endpoints = { ...former, [network.Name]: wishes };
    try {
      if (isUp(container)) await this.#join(container, network);
      else containers.save(container);
    } catch (error) {
      record.endpoints = former;
      throw error;
    }
  }

  async #join(container: Container, network: NetworkResource): Promise<void> {
    const { networks, containers } = this.#context;
    const { record } = container;
    const request = sandboxRequest(this.#context, record);
    const addresses = await networks.connect(request, network.Id);
    try {
      addOwnAddresses(this.#context, record, addresses);
      pointToNameServer(this.#context, record);
      containers.save(container);
    } catch (error) {
      await networks.disconnect(request, network.Id);
      removeOwnAddresses(this.#context, record, addresses);
      throw error;
    }
    this.#publish("connect", network, record.id);
  }

  async #disconnect(container: Container, network: NetworkResource): Promise<void> {
    const { networks, containers } = this.#context;
    const { record } = container;
    if (network.Name === "host" && record.hostConfig.NetworkMode === "host") {
      throw new BerthError(
        "invalid",
        "container cannot be disconnected from host network or connected to host network",
        {
          operation: "disconnect network",
          object: network.Name,
        },
      );
    }
    const isOn = networks.settings(record.id)?.endpoints[network.Name] !== undefined;
    if (record.endpoints[network.Name] === undefined && !isOn) {
      throw new BerthError("internal", `container ${record.id} is not connected to network ${network.Name}`, {
        operation: "disconnect network",
        object: network.Name,
      });
    }
    // After a daemon that was killed half-way through it may have left already.
    const leaves = isUp(container) && isOn;
    if (leaves) {
      const addresses = await networks.disconnect(sandboxRequest(this.#context, record), network.Id);
      removeOwnAddresses(this.#context, record, addresses);
      this.#publish("disconnect", network, record.id);
    }
    const former = record.endpoints;
    const { [network.Name]: _, ...others } = former;
    record.endpoints = others;
    // It has left, whatever can be stored.
    if (leaves) return void saveSurely(this.#context, container);
    try {
      containers.save(container);
    } catch (error) {
      record.endpoints = former;
      throw error;
    }
  }

  #publish(
    action: "create" | "destroy" | "connect" | "disconnect",
    network: NetworkResource,
    container?: string,
  ): void {
    this.#context.events.publish("network", action, network.Id, {
      ...(container !== undefined && { container }),
      name: network.Name,
      type: network.Driver,
    });
  }
}

/** Does it have a namespace to change? */
function isUp(container: Container): boolean {
  return container.isRunning && !container.record.state.Restarting;
}

/** Some containers have one network and no more. */
function checkMode({ record }: Container, network: NetworkResource): void {
  const mode = record.hostConfig.NetworkMode ?? "bridge";
  const problem =
    network.Name === "host" || mode === "host"
      ? "container cannot be disconnected from host network or connected to host network"
      : mode.startsWith("container:")
        ? "container sharing network namespace with another container or host cannot be connected to any other network"
        : network.Name === "none" || "none" in record.endpoints
          ? "container cannot be connected to multiple networks with one of the networks in private (none) mode"
          : undefined;
  if (problem !== undefined) {
    throw new BerthError("invalid", problem, { operation: "connect network", object: network.Name });
  }
}

function refused(message: string, network: NetworkResource): BerthError {
  return new BerthError("forbidden", message, { operation: "connect network", object: network.Name });
}

function isPrunable(network: NetworkResource, filters: Filters, limit: number): boolean {
  if (network.ConfigOnly || Object.keys(network.Containers).length > 0) return false;
  if (Date.parse(network.Created) >= limit) return false;
  const has = (wanted: string): boolean => {
    const [key = "", value] = wanted.split(/=(.*)/s);
    return Object.hasOwn(network.Labels, key) && (!wanted.includes("=") || network.Labels[key] === value);
  };
  return (filters.label ?? []).every(has) && !(filters["label!"] ?? []).some(has);
}
