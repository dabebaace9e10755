/** Who a container's process runs as, from the user database inside its own root, read through the layers. */
import { BerthError } from "#errors/errors.ts";
import { type ResolvedUser, resolveUser } from "#runtime/user.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { LayerStack } from "#storage/layered-lookup.ts";

/** No honest passwd or group file is larger; a hostile one must not fill the daemon's memory. */
const MAX_BYTES = 1024 * 1024;

/** Throws "invalid" with Docker's "unable to find user x: no matching entries in passwd file". */
export async function containerUser(
  storage: StorageDriver,
  id: string,
  user: string,
  groupAdd: readonly string[],
): Promise<ResolvedUser> {
  using layers = new LayerStack(await storage.layerDirectories(id));
  return resolveUser(
    user,
    { passwd: read(layers, "/etc/passwd"), group: read(layers, "/etc/group") },
    groupAdd,
  );
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
