/**
 * Unpacks one layer: file → decompress → hash → tar → directory. Runs in a worker thread whose umask is its own and 0
 * (`prepareThread`).
 */
import { createHash } from "node:crypto";
import { BerthError } from "#errors/errors.ts";
import { S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { umask, unshareThreadUmask } from "#kernel/syscalls.ts";
import type { UnpackRequest, UnpackResult } from "#storage/driver-types.ts";
import { LayerStack } from "#storage/layered-lookup.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { readLayer } from "#storage/unpack/layer-source.ts";
import { LayerTree } from "#storage/unpack/layer-tree.ts";

/** The part of an UnpackRequest that can be sent to another thread. */
export type UnpackTask = Pick<UnpackRequest, "source" | "target" | "whiteouts" | "expectedDiffId" | "lower">;

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
 * truncated or hash otherwise than expected, "no-space", or an AbortError. What was written by then stays.
 */
export async function unpackLayer(task: UnpackTask, hooks: UnpackHooks = {}): Promise<UnpackResult> {
  const hash = createHash("sha256");
  using lower = new LayerStack(task.lower ?? []);
  using tree = new LayerTree(task.target, {
    whiteouts: task.whiteouts,
    lowerDirectory: (path) => {
      const status = lower.stat(path, { follow: false });
      return status !== undefined && (status.mode & S_IFMT) === S_IFDIR ? status : undefined;
    },
  });
  const reader = new TarReader(tree);
  for await (const chunk of readLayer(task.source, (consumed) => hooks.onProgress?.(consumed))) {
    if (hooks.aborted?.() === true) throw new DOMException("unpacking was cancelled", "AbortError");
    hash.update(chunk);
    reader.write(chunk);
  }
  reader.finish();
  tree.finish();
  const diffId = `sha256:${hash.digest("hex")}`;
  if (task.expectedDiffId !== undefined && task.expectedDiffId !== diffId) {
    throw new BerthError(
      "invalid",
      `layer content is ${diffId}, not ${task.expectedDiffId} as its image says`,
      {
        operation: "unpack layer",
        object: task.expectedDiffId,
        hint: "The layer was changed or damaged; fetch the image again.",
      },
    );
  }
  return { diffId, size: tree.size };
}
