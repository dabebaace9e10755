/**
 * The LayerUnpacker of the daemon: unpacks layers in worker threads.
 */
import { availableParallelism } from "node:os";
import type { LayerUnpacker, UnpackResult } from "#storage/driver-types.ts";
import { defaultLimits, type UnpackLimits } from "#storage/unpack/unpack-limits.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

export interface LayerUnpackerOptions {
  /** Layers unpacked at once; by default as many as there are processors, at most 4. */
  threads?: number;
  /** How much a layer may unpack to. */
  limits?: UnpackLimits;
}

export function createLayerUnpacker(options: LayerUnpackerOptions = {}): LayerUnpacker {
  const workers = new StorageWorkers(options.threads ?? Math.min(4, availableParallelism()));
  const limits = options.limits ?? defaultLimits;
  return {
    async unpack({ onProgress, signal, ...task }) {
      const result = await workers.run({ kind: "unpack", task: { limits, ...task } }, { onProgress, signal });
      return result as UnpackResult;
    },
    close: () => workers.close(),
  };
}
