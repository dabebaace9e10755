/**
 * Where the bytes of a layer's archive come from, uncompressed and exactly as their digest was taken.
 *
 * Plain data for the blob threads, and the reading itself, which happens there.
 */
import { createReadStream } from "node:fs";

export type LayerBytes =
  /** The archive as a file. */
  | { kind: "file"; path: string }
  /** A layer directory of the storage driver. */
  | { kind: "layer"; directory: string };

const readSize = 1 << 20;

/** Yields the archive; synchronously where the layer is replayed from its files. */
export async function openLayerBytes(
  bytes: LayerBytes,
): Promise<Iterable<Uint8Array> | AsyncIterable<Uint8Array>> {
  if (bytes.kind === "file") return createReadStream(bytes.path, { highWaterMark: readSize });
  const { packTree } = await import("#storage/pack/pack-tree.ts");
  return packTree(bytes.directory, { overlayLayer: true });
}
