/** Removing a container: its name is free when this resolves; its files go in the background. */

import type { Container } from "#engine/containers/container.ts";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { killAndWait } from "#engine/containers/stop.ts";
import { discardDirectory } from "#engine/discard-directory.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { abandonPending } from "#engine/streams/attach.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { ImageUsers } from "#images/image-types.ts";

/** How long output that a removed container has left waits for a destination that takes nothing, ms. */
const LOG_PATIENCE = 10_000;

/** Call inside the container's queue. `purged` settles when its files are gone, too. */
export async function removeContainer(
  context: EngineContext,
  container: Container,
  options: { force: boolean; volumes: boolean },
): Promise<{ purged: Promise<void> }> {
  const { record } = container;
  // It was removed while this waited for its turn.
  if (context.containers.find(record.id) !== container) return { purged: Promise.resolve() };
  if (record.state.Running) {
    if (!options.force) throw stillRunning(container);
    await killAndWait(context, container);
  }
  await container.settled;
  if (options.volumes && record.mounts.some(({ anonymous }) => anonymous)) {
    // Killed in the midst of this, no container may be there that lacks its volumes.
    context.containers.beginRemoval(container);
    // Who is told of the removal may look for them at once.
    await removeAnonymous(context, record);
  }
  if (context.containers.find(record.id) !== container) return { purged: Promise.resolve() };
  const { name } = record;
  context.containers.retire(container, options.volumes);
  // Whatever happens below: with the row as it is now nobody else would do it.
  const purged = context.background.run(`removal of the files of ${name}`, async () => {
    await container.cleaned;
    await purge(context, record, options.volumes);
  });
  publishContainerEvent(context, container, "destroy", { name });
  for (const waiter of container.removalWaiters) waiter(record.state.ExitCode);
  container.removalWaiters.clear();
  // One that never ran has no end but this.
  for (const waiter of container.exitWaiters) waiter(record.state.ExitCode);
  container.exitWaiters.clear();
  abandonPending(container);
  try {
    // Its volumes are free for whoever removes them next.
    dereferenceVolumes(context, record);
  } catch (error) {
    context.logger.warn("the volumes of a removed container are not free yet", {
      container: record.id,
      error,
    });
  }
  return { purged };
}

/** Deletes everything a record owns, then the record. May be repeated from any point. */
export async function purge(
  context: EngineContext,
  record: ContainerRecord,
  volumes: boolean,
): Promise<void> {
  await context.logs.forget(record.id, LOG_PATIENCE);
  await context.storage.remove(record.id);
  await discardDirectory(containerDirectory(context.config, record.id));
  dereferenceVolumes(context, record);
  if (volumes) await removeAnonymous(context, record);
  context.containers.forget(record.id);
  // An image that was removed by force while this container needed its layers can go now.
  await context.images.collect(imagesInUse(context));
}

function dereferenceVolumes({ volumes }: EngineContext, { id, mounts, lost }: ContainerRecord): void {
  // Of one whose record is lost nobody knows which they were.
  if (lost !== undefined) volumes.dereferenceAll(id);
  for (const { type, volume } of mounts) if (type === "volume") volumes.dereference(volume, id);
}

/** How many containers were made from an image, as of now. */
export function imageUserCounts(context: EngineContext): (imageId: string) => number {
  const counts = new Map<string, number>();
  for (const { record } of context.containers.all())
    counts.set(record.imageId, (counts.get(record.imageId) ?? 0) + 1);
  return (imageId) => counts.get(imageId) ?? 0;
}

/** Which containers use an image, for the images' own bookkeeping and Docker's conflict texts. */
export function imagesInUse(context: EngineContext): ImageUsers {
  return (imageId) =>
    context.containers
      .all()
      .filter(({ record }) => record.imageId === imageId || hasMounted(record, imageId))
      .map((container) => ({ id: container.shortId, running: container.isRunning }));
}

function hasMounted({ mounts }: ContainerRecord, imageId: string): boolean {
  return mounts.some(({ type, source }) => type === "image" && source === imageId);
}

/** Volumes made for this container alone; one that was given to another meanwhile stays. */
async function removeAnonymous(context: EngineContext, { id, mounts }: ContainerRecord): Promise<void> {
  for (const { anonymous, volume } of mounts) {
    if (!anonymous) continue;
    context.volumes.dereference(volume, id);
    try {
      await context.volumes.remove(volume, false);
    } catch (error) {
      if (isBerthError(error, "conflict") || isBerthError(error, "not-found")) continue;
      // It can be removed by its name, once what is in the way is gone.
      context.logger.warn("a removed container leaves a volume", { container: id, volume, error });
    }
  }
}

function stillRunning(container: Container): BerthError {
  const { name, state } = container.record;
  const what = state.Paused ? "paused" : state.Restarting ? "restarting" : "running";
  const remedy =
    what === "paused"
      ? "unpause the container before removing or force remove"
      : "stop the container before removing or force remove";
  return new BerthError("conflict", `cannot remove container "/${name}": container is ${what}: ${remedy}`, {
    operation: "remove container",
    object: name,
  });
}
