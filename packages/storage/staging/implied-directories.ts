/**
 * Directories that a layer's archive implied without describing them, once the layers below are known: they get the mode and
 * owner they have there. Runs in a worker.
 */
import { fchmod, fchown, S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { O_DIRECTORY, O_RDONLY } from "#kernel/syscalls.ts";
import type { LayerView } from "#storage/driver-types.ts";
import { LayerStack } from "#storage/layered-lookup.ts";

/** `lower`: the layers below. What they don't have stays as it is. */
export function applyImplied(directory: string, lower: LayerView, paths: readonly string[]): void {
  using below = new LayerStack(lower.directories, lower.whiteouts);
  using layer = new RootDirectory(directory);
  for (const path of paths) {
    const status = below.stat(path, { follow: false });
    if (status === undefined || (status.mode & S_IFMT) !== S_IFDIR) continue;
    // It may have been replaced by something else, or described, after all.
    using own = layer.openWithoutLinks(path, O_RDONLY | O_DIRECTORY);
    if (own === undefined) continue;
    fchown(own.number, status.uid, status.gid);
    fchmod(own.number, status.mode & 0o7777);
  }
}
