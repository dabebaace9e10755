/**
 * The volumes behind a container's mounts: made at its creation, mounted for each of its runs, known again after the daemon
 * was away.
 */
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";
import type { ContainerMount, ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { ANONYMOUS_LABEL } from "#volumes/volume-filters.ts";
import type { VolumeUser } from "#volumes/volume-types.ts";

/** Makes the volumes a new container refers to, and fills the empty ones with what its root has there. */
export async function makeVolumes(context: EngineContext, record: ContainerRecord): Promise<void> {
  for (const mount of record.mounts) {
    if (mount.type !== "volume") continue;
    const { driver, driverOptions, labels, anonymous } = mount;
    const request = {
      Name: mount.volume,
      // Nobody else can have one of that name.
      Driver: driver ?? (anonymous ? "local" : ""),
      DriverOpts: driverOptions ?? {},
      Labels: { ...labels, ...(anonymous ? { [ANONYMOUS_LABEL]: "" } : {}) },
    };
    const volume = await create(context, request, record.id);
    if (volume.Driver !== "local") {
      mount.driver = volume.Driver;
      mount.source = volume.Mountpoint;
      if (mount.mode === "z") mount.mode = "";
    }
    if (mount.noCopy) continue;
    await using held = new AsyncDisposableStack();
    const layers = async () => {
      held.use(await holdLayers(context.storage, "content", record.id));
      const directories = await context.storage.layerDirectories(record.id);
      return { directories, whiteouts: context.storage.whiteouts };
    };
    await context.volumes.populate(volume.Name, userOf(record, mount), layers, mount.destination);
  }
}

/** Not found is the container's image to clients, who would pull it. */
async function create(
  context: EngineContext,
  request: VolumeCreateRequest,
  containerId: string,
): Promise<Volume> {
  try {
    return await context.volumes.create(request, containerId);
  } catch (cause) {
    if (!isBerthError(cause, "not-found")) throw cause;
    const { message, operation, object, hint } = cause;
    throw new BerthError("invalid", message, {
      operation,
      cause,
      ...(object !== undefined && { object }),
      ...(hint !== undefined && { hint }),
    });
  }
}

/** Ready for a run; answers the host path. */
export async function mountVolume(
  context: EngineContext,
  record: ContainerRecord,
  mount: ContainerMount,
): Promise<string> {
  const path = await context.volumes.mount(mount.volume, userOf(record, mount));
  if (mount.driver !== undefined && mount.driver !== "local") mount.source = path;
  return path;
}

/** The end of a run; nothing for what it did not have. */
export async function unmountVolumes(context: EngineContext, record: ContainerRecord): Promise<void> {
  for (const mount of volumesOf(record)) await context.volumes.unmount(mount.volume, userOf(record, mount));
}

/** A container that runs, or did when the daemon went, has its volumes mounted. */
export function adoptVolumes(context: EngineContext, record: ContainerRecord): void {
  for (const mount of volumesOf(record)) context.volumes.adopt(mount.volume, userOf(record, mount));
}

function volumesOf(record: ContainerRecord): ContainerMount[] {
  return record.mounts.filter(({ type }) => type === "volume");
}

export function userOf({ id }: ContainerRecord, mount: ContainerMount): VolumeUser {
  const { destination, readOnly, propagation } = mount;
  return { container: id, destination, readOnly, propagation };
}
