/**
 * The LayerUnpacker of the daemon: unpacks layers in worker threads.
 */
import { availableParallelism } from "node:os";
import type { LayerUnpacker, UnpackResult } from "#storage/driver-types.ts";
import type { StagedArchive, StageProgress } from "#storage/staging/staging-types.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";
import { defaultLimits, type UnpackLimits } from "#storage/unpack/unpack-limits.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

export interface LayerUnpackerOptions {
  /** Layers unpacked at once; by default as many as there are processors, at most 4. */
  threads?: number;
  /** How much a layer may unpack to. */
  limits?: UnpackLimits;
  /** Whose the files of layers are on the host. */
  idMap?: IdMap | undefined;
}

/** Image archives that can be on their way in, and how long one may stand still while others wait, ms. */
const archivesAtOnce = 16;
const archiveStall = 10_000;

export function createLayerUnpacker(options: LayerUnpackerOptions = {}): LayerUnpacker {
  const workers = new StorageWorkers(options.threads ?? Math.min(4, availableParallelism()));
  /** Each is at the mercy of a client. */
  const archivers = new StorageWorkers(archivesAtOnce, archiveStall);
  const defaults = {
    limits: options.limits ?? defaultLimits,
    ...(options.idMap && { idMap: options.idMap }),
  };
  return {
    async unpack({ onProgress, signal, ...task }) {
      const result = await workers.run(
        { kind: "unpack", task: { ...defaults, ...task } },
        { onProgress, signal },
      );
      return result as UnpackResult;
    },
    async stage(request, { stage, onProgress, signal }) {
      const result = await archivers.run(
        { kind: "stage", task: { ...defaults, ...request } },
        { onAsk: stage, onProgress: (_, detail) => onProgress(detail as StageProgress), signal },
      );
      return result as StagedArchive;
    },
    async imply(directory, lower, paths) {
      await workers.run({ kind: "imply", directory, lower, paths });
    },
    close: async () => {
      await Promise.all([workers.close(), archivers.close()]);
    },
  };
}
