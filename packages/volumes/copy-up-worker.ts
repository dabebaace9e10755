/** Worker thread of one copy-up: fills a new volume with what the image has at its mount point. */
import { parentPort, workerData } from "node:worker_threads";
import type { LayerView } from "#storage/driver-types.ts";
import { copyMerged } from "#volumes/merged-copy.ts";

const { layers, path, target } = workerData as { layers: LayerView; path: string; target: string };
copyMerged(layers, path, target);
parentPort?.postMessage("done");
