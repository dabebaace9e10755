/**
 * Unpacks one layer: file → decompress → hash → tar → directory. Runs in a worker thread whose umask is its own and 0
 * (`prepareThread`).
 */
import { BerthError } from "#errors/errors.ts";
import { umask, unshareThreadUmask } from "#kernel/syscalls.ts";
import type { UnpackRequest, UnpackResult } from "#storage/driver-types.ts";
import { LayerBuilder, type LayerTarget } from "#storage/unpack/layer-builder.ts";
import { readLayer } from "#storage/unpack/layer-source.ts";
import { checkLimits, defaultLimits } from "#storage/unpack/unpack-limits.ts";

/** The part of an UnpackRequest that can be sent to another thread. */
export type UnpackTask = LayerTarget & Pick<UnpackRequest, "source" | "expectedDiffId" | "limits">;

export interface UnpackHooks {
  /** Compressed bytes consumed so far. */
  onProgress?: (consumed: number) => void;
  /** Asked between chunks; true stops with an AbortError. */
  aborted?: () => boolean;
}

/** Gives this thread a umask of its own, 0: modes in archives are meant exactly. */
export function prepareThread(): void {
  unshareThreadUmask();
  umask(0);
}

/**
 * Unpacks `task.source` into the existing directory `task.target`. Throws "invalid" for archives that are malformed,
 * truncated or hash otherwise than expected, "too-large", "no-space", or an AbortError. What was written by then stays.
 */
export async function unpackLayer(task: UnpackTask, hooks: UnpackHooks = {}): Promise<UnpackResult> {
  using builder = new LayerBuilder(task);
  let packed = 0;
  const consumed = (bytes: number) => {
    packed = bytes;
    hooks.onProgress?.(bytes);
  };
  for await (const chunk of readLayer(task.source, consumed)) {
    if (hooks.aborted?.() === true) throw new DOMException("unpacking was cancelled", "AbortError");
    builder.write(chunk);
    checkLimits(task.limits ?? defaultLimits, packed, builder.length);
  }
  return builder.finish((diffId) => {
    const { expectedDiffId } = task;
    if (expectedDiffId === undefined || expectedDiffId === diffId) return;
    throw new BerthError("invalid", `layer content is ${diffId}, not ${expectedDiffId} as its image says`, {
      operation: "unpack layer",
      object: expectedDiffId,
      hint: "The layer was changed or damaged; fetch the image again.",
    });
  });
}
