/** What a container's root consists of, for work on its files: its root file system, volumes, binds, and while it runs tmpfs. */
import { join } from "node:path";
import type { Container } from "#engine/containers/container.ts";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerMount } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { userOf } from "#engine/mounts/container-volumes.ts";
import { mountImage, unmountImages } from "#engine/mounts/image-mounts.ts";
import type { RootMount, RootRequest } from "#storage/files/root-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import type { VolumeUser } from "#volumes/volume-types.ts";

/**
 * Runs `work` with the container's root as it is now. Of a container that doesn't run the volumes are made ready for the time
 * of it; call it in the container's queue then, so that nothing starts meanwhile.
 */
export async function withRoot<T>(
  context: EngineContext,
  container: Container,
  work: (root: RootRequest) => Promise<T>,
): Promise<T> {
  const { record } = container;
  await using _held = await holdLayers(context.storage, "root", record.id);
  const rootfs = await context.storage.rootfs(record.id);
  const readOnly = record.hostConfig.ReadonlyRootfs ?? false;
  if (isLive(container)) {
    const running = { pid: record.state.Pid, startTicks: record.startTicks };
    const mounts = [...etcMounts(context, container), ...record.mounts.map((mount) => rootMount(mount, ""))];
    return await work({ rootfs, running, readOnly, mounts });
  }
  try {
    const mounts = etcMounts(context, container);
    for (const mount of record.mounts) {
      // Its content is gone, or not there yet.
      if (mount.type === "tmpfs") continue;
      mounts.push(rootMount(mount, await sourceOf(context, container, mount)));
    }
    return await work({ rootfs, readOnly, mounts });
  } finally {
    for (const mount of record.mounts) {
      if (mount.type === "volume") await context.volumes.unmount(mount.volume, quietUser(container, mount));
    }
    await unmountImages(context, record);
    await context.held.release(record.id);
  }
}

async function sourceOf(
  context: EngineContext,
  container: Container,
  mount: ContainerMount,
): Promise<string> {
  if (mount.type === "volume") return await context.volumes.mount(mount.volume, quietUser(container, mount));
  return mount.type === "image" ? await mountImage(context, container.record, mount) : mount.source;
}

function quietUser({ record }: Container, mount: ContainerMount): VolumeUser {
  return { ...userOf(record, mount), quiet: true };
}

/** Runs `work` with the root file system without anything mounted on it. */
export async function withBareRoot<T>(
  context: EngineContext,
  container: Container,
  work: (root: RootRequest) => Promise<T>,
): Promise<T> {
  const { record } = container;
  await using _held = await holdLayers(context.storage, "root", record.id);
  const rootfs = await context.storage.rootfs(record.id);
  const running = { pid: record.state.Pid, startTicks: record.startTicks };
  return await work({ rootfs, readOnly: true, mounts: [], ...(isLive(container) ? { running } : {}) });
}

/** Has it processes, whose root can be taken? */
export function isLive({ record, live }: Container): boolean {
  return record.state.Running && record.state.Pid > 0 && live !== undefined;
}

function rootMount(mount: ContainerMount, source: string): RootMount {
  const { destination, subpath, recursive, readOnly } = mount;
  return { destination, source, subpath, recursive, readOnly, optional: mount.type === "bind" };
}

/** The files over /etc that the last start wrote. */
function etcMounts(context: EngineContext, { record }: Container): RootMount[] {
  const directory = containerDirectory(context.config, record.id);
  return ["resolv.conf", "hostname", "hosts"].map((name) => ({
    destination: `/etc/${name}`,
    source: join(directory, name),
    subpath: "",
    recursive: false,
    readOnly: false,
    optional: true,
  }));
}
