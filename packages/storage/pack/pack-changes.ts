/**
 * Packs a layer that holds everything as an archive of its changes alone: for drivers without whiteouts of their own.
 *
 * Of a directory that only something below was changed in, its own entry is written too, so that its mode and owner arrive
 * with it; of what was deleted, a whiteout.
 */
import { layerChanges } from "#storage/changes/layer-changes.ts";
import type { LayerComparison } from "#storage/driver-types.ts";
import { type PackOptions, packTree, packWhiteout, TreePacker } from "#storage/pack/pack-tree.ts";
import { endOfArchive } from "#storage/tar/tar-writer.ts";

/** Yields the bytes of a layer's archive, whatever the driver keeps layers like. */
export function* packLayerChanges(
  comparison: LayerComparison,
  options: Pick<PackOptions, "ownerFor"> = {},
): Generator<Buffer> {
  const { whiteouts } = comparison;
  if (whiteouts !== "apply") {
    yield* packTree(comparison.directory, { whiteouts, ...options });
    return;
  }
  const packer = new TreePacker(options);
  for (const { path, parent, name, status } of layerChanges(comparison)) {
    const inArchive = path.slice(1);
    // Its own time would make every archive of the same changes another one.
    if (status === undefined) yield packWhiteout(inArchive, 0n);
    else yield* packer.entry(parent, name, inArchive, status);
  }
  yield endOfArchive;
}
