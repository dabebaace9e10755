/** Events about a container, with the attributes Docker gives them. */
import type { Container } from "#engine/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";

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
