/**
 * Writes an archive that layers are part of to a descriptor: given bytes, and layers replayed between them.
 *
 * For worker threads. A layer that isn't what it was ends it in the middle: whoever wrote the head cuts the connection.
 */
import type { Aborted } from "#kernel/client-pace.ts";
import { DescriptorOutput, type Framing } from "#kernel/descriptor-output.ts";
import { replayLayer, type StoredLayer } from "#storage/layout/replay-layer.ts";

export type ArchivePiece = Uint8Array | StoredLayer;

export interface ArchiveTask {
  pieces: ArchivePiece[];
  /** The descriptor stays its owner's. */
  sink: { fd: number; framing: Framing };
}

/** Throws an AbortError when nobody wants the rest, and as `replayLayer`. */
export function writeArchive({ pieces, sink }: ArchiveTask, aborted: Aborted): void {
  const output = new DescriptorOutput(sink.fd, sink.framing, aborted);
  for (const piece of pieces) {
    if ("directory" in piece) for (const bytes of replayLayer(piece)) output.write(bytes);
    else output.write(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
  }
  output.flush();
}
