/**
 * What a container asks of its networks, from the request that makes it or connects it: by network name, without what
 * only a running endpoint has.
 */
import type { EndpointSettings, NetworkResource } from "#api-types/network.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { BerthError } from "#errors/errors.ts";
import type { NetworkController } from "#networks/network-types.ts";

export type EndpointWishes = Record<string, Partial<EndpointSettings>>;

/**
 * The endpoints of a new container: those given, else one on the network of its mode. Networks that are not there yet
 * keep the name they were given; the start will ask again. Throws "invalid" for what a network cannot give.
 */
export function endpointsOfRequest(
  networks: NetworkController,
  given: Record<string, Partial<EndpointSettings> | null>,
  mode: string,
): EndpointWishes {
  if (mode.startsWith("container:")) return {};
  const wanted = Object.keys(given).length > 0 ? given : { [mode]: {} };
  return Object.fromEntries(
    Object.entries(wanted).map(([key, settings]) => {
      const network = findNetwork(networks, key);
      const name = network?.Name ?? (key === "default" ? "bridge" : key);
      const wishes = wishesOf(settings ?? {});
      if (network !== undefined) checkWishes(networks, key, wishes);
      return [name, wishes] as const;
    }),
  );
}

function checkWishes(networks: NetworkController, name: string, wishes: Partial<EndpointSettings>): void {
  try {
    networks.checkEndpoint(name, wishes);
  } catch (cause) {
    if (!(cause instanceof BerthError)) throw cause;
    throw new BerthError(cause.code, `invalid config for network ${name}: ${cause.message}`, {
      operation: "create container",
      object: name,
      cause,
    });
  }
}

/** Undefined for one that is not there. */
function findNetwork(networks: NetworkController, nameOrId: string): NetworkResource | undefined {
  try {
    return networks.inspect(nameOrId === "default" ? "bridge" : nameOrId);
  } catch (error) {
    if (error instanceof BerthError && error.code === "not-found") return undefined;
    throw error;
  }
}

/**
 * What stays of endpoint settings when nothing runs. Clients send back all they were shown. The network's id comes with
 * the first start, as with Docker: by then it is certain which network the name stands for.
 */
export function wishesOf(settings: Partial<EndpointSettings>): Partial<EndpointSettings> {
  const { IPAMConfig, Links, Aliases, MacAddress, DriverOpts, GwPriority } = settings;
  return {
    ...(IPAMConfig && { IPAMConfig }),
    ...(Links && { Links }),
    ...(Aliases && { Aliases }),
    ...(MacAddress && { MacAddress }),
    ...(DriverOpts && { DriverOpts }),
    ...(GwPriority && { GwPriority }),
  };
}

/** Has the container been taken off all its networks? Then it starts with none, whatever its mode. */
export function isDetached({ hostConfig, endpoints }: ContainerRecord): boolean {
  return !(hostConfig.NetworkMode ?? "").startsWith("container:") && Object.keys(endpoints).length === 0;
}
