/**
 * Where the bytes of a layer's archive come from, uncompressed and exactly as their digest was taken.
 *
 * Plain data for the blob threads, and the reading itself, which happens there.
 */
import { createReadStream } from "node:fs";

export type LayerBytes =
  /** The archive as a file. */
  | { kind: "file"; path: string }
  /** A layer of the storage driver: its `diffPath` and its `layoutPath`. */
  | { kind: "layer"; directory: string; layout: string };

const readSize = 1 << 20;

/** Yields the archive, each piece good until the next; not compared with its digest, which is for the reader. */
export async function openLayerBytes(
  bytes: LayerBytes,
): Promise<Iterable<Uint8Array> | AsyncIterable<Uint8Array>> {
  if (bytes.kind === "file") return createReadStream(bytes.path, { highWaterMark: readSize });
  const { replayLayer } = await import("#storage/layout/replay-layer.ts");
  return replayLayer(bytes, { verify: false });
}
