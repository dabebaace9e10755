/** Who a container's process runs as, from the user database inside its own root, read through the layers. */
import { readdirSync } from "node:fs";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { BerthError } from "#errors/errors.ts";
import { type ResolvedUser, resolveUser, type UserFiles } from "#runtime/user.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { LayerStack } from "#storage/layered-lookup.ts";

/** No honest passwd or group file is larger; a hostile one must not fill the daemon's memory. */
const MAX_BYTES = 1024 * 1024;

/** So many images' files are remembered, those up to this size: each container looks into them at its start. */
const KEPT_IMAGES = 32;
const KEPT_BYTES = 16 * 1024;
const ofImages = new Map<string, UserFiles>();

/** `user` for the container's own. Throws "invalid" with Docker's "unable to find user x: no matching entries in passwd file". */
export async function containerUser(
  storage: StorageDriver,
  record: ContainerRecord,
  user: string = record.config.User ?? "",
  groupAdd: readonly string[] = record.hostConfig.GroupAdd ?? [],
): Promise<ResolvedUser> {
  return resolveUser(user, await userFiles(storage, record), groupAdd);
}

/** A container that has changed nothing has its image's. */
async function userFiles(storage: StorageDriver, { id, imageId }: ContainerRecord): Promise<UserFiles> {
  await using _held = await holdLayers(storage, "content", id);
  const directories = await storage.layerDirectories(id);
  const [own = "", ...below] = directories;
  // Where a container has a directory of its own that isn't the whole root.
  const unchanged = below.length > 0 && readdirSync(own).length === 0;
  const known = unchanged ? ofImages.get(imageId) : undefined;
  if (known !== undefined) return known;
  using layers = new LayerStack(directories, storage.whiteouts);
  const files = { passwd: read(layers, "/etc/passwd"), group: read(layers, "/etc/group") };
  const size = (files.passwd?.length ?? 0) + (files.group?.length ?? 0);
  if (unchanged && size <= KEPT_BYTES) {
    const [oldest] = ofImages.size < KEPT_IMAGES ? [] : ofImages.keys();
    if (oldest !== undefined) ofImages.delete(oldest);
    ofImages.set(imageId, files);
  }
  return files;
}

function read(layers: LayerStack, path: string): string | undefined {
  try {
    return layers.readFile(path, MAX_BYTES)?.toString("utf8");
  } catch (cause) {
    throw new BerthError(
      "invalid",
      `cannot read ${path} of the container: ${cause instanceof Error ? cause.message : cause}`,
      {
        operation: "resolve user",
        object: path,
        cause,
      },
    );
  }
}
