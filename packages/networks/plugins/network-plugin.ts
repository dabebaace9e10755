/**
 * A network plugin: its NetworkDriver methods, their answers checked. Knows Docker's remote driver protocol and nothing of
 * what is made of it.
 */
import { BerthError } from "#errors/errors.ts";
import { callPlugin, PluginError } from "#plugins/plugin-client.ts";
import type { PluginKind, Plugins } from "#plugins/plugins.ts";

/** How long a plugin may take, ms: for what it has to do, and where nobody waits for it. */
const WORK = 60_000;
const PARTING = 15_000;

/** A pool as plugins are told of it; addresses with the length of their network. */
export interface PoolData {
  AddressSpace: string;
  Pool: string;
  Gateway: string;
  AuxAddresses: Record<string, string>;
}

/** "" for what is not there; addresses with the length of their network. */
export interface PluginInterface {
  Address: string;
  AddressIPv6: string;
  MacAddress: string;
}

export interface JoinAnswer {
  /** The link of the host's that goes into the namespace; "" for none. */
  source: string;
  /** What it is called there, but for the number at its end. */
  prefix: string;
  /** The whole name, of plugins that say it. */
  name: string;
  gateway: string;
  gateway6: string;
  /** `nextHop` is "" for what is on the link itself. */
  routes: { destination: string; nextHop: string }[];
}

export class NetworkPlugin {
  readonly name: string;
  readonly #plugins: Plugins;

  constructor(name: string, plugins: Plugins) {
    this.name = name;
    this.#plugins = plugins;
  }

  async scope(): Promise<"local" | "global"> {
    const { Scope } = await this.#call("GetCapabilities", {}, WORK);
    if (Scope === "local" || Scope === "global") return Scope;
    throw new PluginError(
      `invalid capability: expecting "local" or "global", got ${JSON.stringify(Scope ?? "")}`,
      "answered",
    );
  }

  async createNetwork(
    id: string,
    options: Record<string, unknown>,
    ipv4: readonly PoolData[],
    ipv6: readonly PoolData[],
  ): Promise<void> {
    const asked = { NetworkID: id, Options: options, IPv4Data: ipv4, IPv6Data: ipv6 };
    await this.#call("CreateNetwork", asked, WORK);
  }

  async deleteNetwork(id: string): Promise<void> {
    await this.#call("DeleteNetwork", { NetworkID: id }, PARTING, 0);
  }

  /** What it adds to the interface: it may give what is "" in `wanted`, and must leave the rest. */
  async createEndpoint(
    network: string,
    endpoint: string,
    options: Record<string, unknown>,
    wanted: PluginInterface,
  ): Promise<PluginInterface> {
    const asked = { ...about(network, endpoint), Options: options, Interface: wanted };
    const { Interface } = await this.#call("CreateEndpoint", asked, WORK);
    const given = fieldsOf(Interface);
    const both = (key: keyof PluginInterface): string => {
      const text = textOf(given[key]);
      if (text === "" || text === wanted[key]) return wanted[key];
      if (wanted[key] === "") return text;
      throw new PluginError(
        `NetworkDriver.CreateEndpoint: the plugin ${this.name} changed ${key} from ${wanted[key]} to ${text}`,
        "answered",
      );
    };
    return {
      Address: both("Address"),
      AddressIPv6: both("AddressIPv6"),
      MacAddress: both("MacAddress"),
    };
  }

  /** What it has to say of an endpoint; whatever that is. */
  async operatingInformation(network: string, endpoint: string): Promise<Record<string, unknown>> {
    const { Value } = await this.#call("EndpointOperInfo", about(network, endpoint), PARTING);
    return fieldsOf(Value);
  }

  async deleteEndpoint(network: string, endpoint: string): Promise<void> {
    await this.#call("DeleteEndpoint", about(network, endpoint), PARTING, 0);
  }

  async join(
    network: string,
    endpoint: string,
    sandboxKey: string,
    options: Record<string, unknown>,
  ): Promise<JoinAnswer> {
    const asked = { ...about(network, endpoint), SandboxKey: sandboxKey, Options: options };
    const answer = await this.#call("Join", asked, WORK);
    const link = fieldsOf(answer.InterfaceName);
    const routes = Array.isArray(answer.StaticRoutes) ? answer.StaticRoutes.map(fieldsOf) : [];
    return {
      source: textOf(link.SrcName),
      prefix: textOf(link.DstPrefix),
      name: textOf(link.DstName),
      gateway: textOf(answer.Gateway),
      gateway6: textOf(answer.GatewayIPv6),
      routes: routes.map((route) => ({
        destination: textOf(route.Destination),
        // Type 1 is a route to what is on the link.
        nextHop: route.RouteType === 1 ? "" : textOf(route.NextHop),
      })),
    };
  }

  async leave(network: string, endpoint: string): Promise<void> {
    await this.#call("Leave", about(network, endpoint), PARTING, 0);
  }

  async programExternal(network: string, endpoint: string, options: Record<string, unknown>): Promise<void> {
    const asked = { ...about(network, endpoint), Options: options };
    await this.#call("ProgramExternalConnectivity", asked, WORK);
  }

  async revokeExternal(network: string, endpoint: string): Promise<void> {
    await this.#call("RevokeExternalConnectivity", about(network, endpoint), PARTING, 0);
  }

  #call(method: string, argument: unknown, timeout: number, patience?: number) {
    return askPlugin(
      this.#plugins,
      { name: this.name, kind: "NetworkDriver", method, argument, timeout },
      patience,
    );
  }
}

export interface Asking {
  name: string;
  kind: PluginKind;
  method: string;
  argument: unknown;
  /** ms */
  timeout: number;
}

/** One call of a plugin that is found again each time. Throws PluginError, "not-found" where there is none of that name. */
export async function askPlugin(
  plugins: Plugins,
  { name, kind, method, argument, timeout }: Asking,
  patience = plugins.patience,
): Promise<Record<string, unknown>> {
  const plugin = await plugins.get(name, kind, patience);
  if (plugin === undefined) {
    throw new BerthError("not-found", `plugin ${JSON.stringify(name)} not found`, {
      operation: method,
      object: name,
      hint: "is the plugin running, and its socket or specification where plugins are looked for?",
    });
  }
  return await callPlugin(plugin, `${kind}.${method}`, argument, { timeout, patience });
}

/** A plugin's failure as everybody's error; others stay as they are. */
export function told(error: unknown, operation: string, object: string, before = ""): unknown {
  if (!(error instanceof Error) || (error instanceof BerthError && before === "")) return error;
  const code = error instanceof BerthError ? error.code : "internal";
  return new BerthError(code, `${before}${error.message}`, {
    operation,
    object,
    cause: error,
    hint: "the plugin says so, or cannot be reached: is it running?",
  });
}

function about(network: string, endpoint: string) {
  return { NetworkID: network, EndpointID: endpoint };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
