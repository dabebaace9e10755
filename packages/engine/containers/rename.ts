/** `docker rename`. */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { BerthError } from "#errors/errors.ts";

/** Call inside the container's queue. Throws "conflict" for a name that is taken. */
export function renameContainer(context: EngineContext, container: Container, name: string): void {
  const { record } = container;
  const refuse = (message: string) =>
    new BerthError("invalid", message, { operation: "rename container", object: record.name });
  const wanted = name.replace(/^\//, "");
  if (wanted === "") throw refuse("Neither old nor new names may be empty");
  if (wanted === record.name) {
    throw refuse("Renaming a container with the same name as its current name");
  }
  const oldName = `/${record.name}`;
  try {
    context.containers.rename(container, wanted);
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    // Docker shows the name with its slash here.
    const text = error.message.replace(`container name (${wanted})`, `container name (/${wanted})`);
    throw new BerthError(error.code, `Error when allocating new name: ${text}`, {
      operation: "rename container",
      object: wanted,
      cause: error,
    });
  }
  context.networks.rename(record.id, wanted);
  publishContainerEvent(context, container, "rename", { oldName });
}
