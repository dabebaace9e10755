/** The first use of a volume: what the image has at its mount point is copied into it, if there is nothing in it yet. */
import { readdir } from "node:fs/promises";
import { BerthError } from "#errors/errors.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import type { LayerView } from "#storage/driver-types.ts";
import { copyUp, type LocalDriver } from "#volumes/local-driver.ts";

export interface Populating {
  /** Undefined for volumes of a plugin. */
  local: LocalDriver | undefined;
  /** Do other containers refer to it, too? They may begin to while it is being filled. */
  shared: () => boolean;
  layers: () => Promise<LayerView>;
  mount: () => Promise<string>;
  unmount: () => Promise<void>;
}

/** Throws "internal" with the reason where it cannot be filled. */
export async function populateVolume(
  name: string,
  path: string,
  { local, shared, layers, mount, unmount }: Populating,
): Promise<void> {
  const target = await mount();
  try {
    if ((await readdir(target)).length > 0) return;
    const stack = await layers();
    // Most mount points are not in the image, and a thread for nothing costs more than all else.
    if (!stack.directories.some((layer) => has(layer, path))) return;
    if (local === undefined) await copyUp({ layers: stack, path, target });
    else await local.populate(name, stack, path, shared);
  } catch (cause) {
    throw new BerthError(
      "internal",
      `failed to populate volume ${name} from ${path}: ${cause instanceof Error ? cause.message : cause}`,
      { operation: "populate volume", object: name, cause },
    );
  } finally {
    await unmount();
  }
}

/** Whether it may be there; what a path through links comes to is the copy's to find out. */
function has(layer: string, path: string): boolean {
  try {
    using root = new RootDirectory(layer);
    return root.lstat(path) !== undefined;
  } catch {
    return true; // Links in a circle, or what cannot be read.
  }
}
