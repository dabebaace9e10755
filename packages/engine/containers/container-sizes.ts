/** What a container takes on the disk, as `docker ps -s` and `docker inspect -s` tell it. Measured in a worker. */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";

export interface ContainerSizes {
  /** Bytes of what the container itself wrote. */
  SizeRw: number;
  /** With the image below it. */
  SizeRootFs: number;
}

export async function containerSizes(context: EngineContext, container: Container): Promise<ContainerSizes> {
  const { id, imageId } = container.record;
  const own = await context.storage.size(id);
  return { SizeRw: own, SizeRootFs: own + context.images.sizeOf(imageId) };
}
