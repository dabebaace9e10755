/** Events about a container, with the attributes Docker gives them. */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { isBerthError } from "#errors/errors.ts";

/** Publishes `action` with the container's labels, image and name. */
export function publishContainerEvent(
  context: EngineContext,
  container: Container,
  action: string,
  attributes: Record<string, string> = {},
): void {
  const { record } = container;
  context.events.publish("container", action, record.id, {
    ...record.config.Labels,
    image: record.imageName,
    name: record.name,
    ...attributes,
  });
}

/** A network's driver never changes, and describing a network with many containers takes long. */
const networkTypes = new Map<string, string>();

function networkType(context: EngineContext, id: string): string {
  const known = networkTypes.get(id);
  if (known !== undefined) return known;
  const type = driverOf(context, id);
  networkTypes.set(id, type);
  return type;
}

function driverOf(context: EngineContext, id: string): string {
  try {
    return context.networks.inspect(id).Driver;
  } catch (error) {
    if (isBerthError(error, "not-found")) return "";
    throw error;
  }
}

/** For each network the container holds a place in. Call while it is held. */
export function publishNetworkEvents(
  context: EngineContext,
  containerId: string,
  action: "connect" | "disconnect",
): void {
  const held = context.networks.settings(containerId);
  for (const [name, { NetworkID }] of Object.entries(held?.endpoints ?? {})) {
    const type = networkType(context, NetworkID);
    context.events.publish("network", action, NetworkID, { container: containerId, name, type });
  }
}
