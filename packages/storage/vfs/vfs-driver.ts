/**
 * The vfs storage driver: every layer is a directory with all of its files, `vfs/dir/<id>` as Docker has it. Works on any
 * file system, needs no mount, and costs a copy for every container.
 *
 * Image layers and init layers are never written to after they are made, only replaced name by name while they are
 * unpacked; so their files are further names of those below, and only a container's own layer is a real copy. Copies
 * are made in a worker.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import { cannotStart, checkSize, parseDriverOption, refuseSize } from "#storage/driver-options.ts";
import type { Owner, SizeOptions } from "#storage/driver-types.ts";
import { makeLayerDirectory, spreadLayers } from "#storage/spread-layers.ts";
import { type LayerTrees, WholeLayerDriver } from "#storage/whole-layers.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Trees copied at once: more would only make the disk's head, or its queue, busier. */
const copies = 2;

export interface VfsOptions {
  /** The daemon's data root; layers live in `<dataRoot>/vfs/dir`. */
  dataRoot: string;
  /** "key=value" of `--storage-opt`. */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
}

/** Makes the driver's directory. Throws "invalid" with Docker's text for an option that it cannot keep. */
export function createVfsDriver({ dataRoot, options = [], owner }: VfsOptions): WholeLayerDriver {
  for (const option of options) checkOption(option);
  const base = join(dataRoot, "vfs");
  mkdirSync(join(base, "dir"), { recursive: true, mode: 0o710 });
  const trees = new CopiedTrees(spreadLayers(join(base, "dir")));
  return new WholeLayerDriver({
    name: "vfs",
    base,
    home: "dir",
    trees,
    owner: owner ?? { uid: 0, gid: 0 },
  });
}

function checkOption(text: string): void {
  const { key, value } = parseDriverOption("vfs", text);
  if (key !== "size") throw cannotStart("vfs", `unknown option ${key} for vfs`);
  checkSize("vfs", value);
  throw cannotStart("vfs", "Filesystem does not support, or has not enabled quotas");
}

class CopiedTrees implements LayerTrees {
  readonly instant = false;
  readonly removal = new BackgroundRemoval();
  readonly #workers = new StorageWorkers(copies);
  readonly #spread: boolean;

  constructor(spread: boolean) {
    this.#spread = spread;
  }

  async makeEmpty(home: string, name: string): Promise<void> {
    await makeLayerDirectory(home, name, 0o755, this.#spread);
  }

  async makeCopy(source: string, home: string, name: string, { share }: { share: boolean }): Promise<void> {
    await this.makeEmpty(home, name);
    await this.#workers.run({ kind: "copy", task: { source, target: join(home, name), share } });
  }

  async status(): Promise<null> {
    return null;
  }

  sizeLimit(options: SizeOptions): undefined {
    refuseSize("vfs", options);
    return undefined;
  }

  close(): Promise<void> {
    return this.#workers.close();
  }
}
