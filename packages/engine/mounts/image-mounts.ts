/**
 * Images mounted in containers (`--mount type=image`): a read-only view of an image's layers, on the host for as long as a
 * run, at `<data root>/image-mounts/<container>/<digest of the destination>`.
 *
 * Owns these mount points. What a crash leaves of them is removed at the next start.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, realpath, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerMount, ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  encodeMountAttributes,
  fsconfigCreate,
  fsconfigSet,
  fsmount,
  fsopen,
  MNT_DETACH,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  mount,
  mountSetattr,
  moveMount,
  umount2,
} from "#kernel/mount-syscalls.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";

/** mount(2) takes one page of options, NUL included. */
const MAX_MOUNT_DATA = 4095;

/** Where one of a container's images lies during a run. */
export function imageMountPath(dataRoot: string, id: string, { destination }: ContainerMount): string {
  const digest = createHash("sha256").update(destination).digest("hex").slice(0, 16);
  return join(dataRoot, "image-mounts", id, digest);
}

/** What it takes of layers is held in the container's name. Throws "internal" where it cannot be mounted. */
export async function mountImage(
  context: EngineContext,
  record: ContainerRecord,
  wanted: ContainerMount,
): Promise<string> {
  const target = imageMountPath(context.config.dataRoot, record.id, wanted);
  await mkdir(target, { recursive: true, mode: 0o700 });
  unmountAt(await realpath(target));
  const layers = wanted.layer === undefined ? [] : await holdImage(context, record, wanted.layer);
  try {
    mountLayers(layers, target);
  } catch (cause) {
    throw new BerthError(
      "internal",
      `error while mounting image '${wanted.volume}': ${cause instanceof Error ? cause.message : cause}`,
      { operation: "mount image", object: wanted.volume, cause },
    );
  }
  return target;
}

/**
 * Holds an image in a container's name. Answers the directories that show it, uppermost first: its layers where overlayfs knows
 * their marks, else its root.
 */
export async function holdImage(
  { held, storage }: EngineContext,
  { id }: ContainerRecord,
  layer: string,
): Promise<string[]> {
  if (storage.whiteouts !== "aufs") {
    await held.hold(id, "content", layer);
    return await storage.layerDirectories(layer);
  }
  await held.hold(id, "root", layer);
  const root = await storage.rootfs(layer);
  return root.kind === "directory" ? [root.path] : [];
}

/** Undoes `mountImage` for all of a container's images; nothing for what is not mounted. */
export async function unmountImages(context: EngineContext, record: ContainerRecord): Promise<void> {
  if (!record.mounts.some(({ type }) => type === "image")) return;
  await clear(join(context.config.dataRoot, "image-mounts", record.id));
}

/** Removes what containers had that ended while no daemon was there. */
export async function unmountUnusedImages(
  context: EngineContext,
  running: ReadonlySet<string>,
): Promise<void> {
  const home = join(context.config.dataRoot, "image-mounts");
  for (const id of await readdir(home).catch(() => [])) {
    if (!running.has(id)) await clear(join(home, id));
  }
}

/** Nothing is deleted but empty directories: what cannot be unmounted stays as it is. */
async function clear(directory: string): Promise<void> {
  // As the kernel tells of what is mounted.
  const real = await realpath(directory).catch(() => undefined);
  if (real === undefined) return;
  for (const name of await readdir(real)) {
    unmountAt(join(real, name));
    await rmdir(join(real, name));
  }
  await rmdir(real).catch(() => undefined); // Not there, or somebody begins to use it.
}

function unmountAt(target: string): void {
  const times = readMountInfo().filter(({ mountPoint }) => mountPoint === target).length;
  for (let n = 0; n < times; n++) umount2(target, MNT_DETACH);
}

/** `layers`: uppermost first. */
function mountLayers(layers: readonly string[], target: string): void {
  const [only = target] = layers;
  const lower = `lowerdir=${layers.map((path) => path.replace(/[\\,:]/g, "\\$&")).join(":")}`;
  if (layers.length < 2) {
    // One layer is no overlay, and none is an empty directory.
    mount(only, target, "", MS_BIND);
    mountSetattr(AT_FDCWD, target, 0, encodeMountAttributes(MOUNT_ATTR_RDONLY, 0, 0, 0));
  } else if (Buffer.byteLength(lower) <= MAX_MOUNT_DATA) {
    mount("overlay", target, "overlay", MS_RDONLY, lower);
  } else {
    mountManyLayers(layers, target);
  }
  mount("", target, "", MS_PRIVATE);
}

/** Told one by one (Linux 6.5 and later). */
function mountManyLayers(layers: readonly string[], target: string): void {
  using context = new FileDescriptor(fsopen("overlay"));
  fsconfigSet(context.number, "source", "overlay");
  for (const layer of layers) fsconfigSet(context.number, "lowerdir+", layer);
  fsconfigCreate(context.number);
  using tree = new FileDescriptor(fsmount(context.number, MOUNT_ATTR_RDONLY));
  moveMount(tree.number, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}
