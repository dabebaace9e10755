/**
 * The btrfs storage driver: every layer is a subvolume, `btrfs/subvolumes/<id>` as Docker has it, that began as a snapshot of
 * the one below. Making and removing one costs the same whatever is in it; nothing is mounted or copied.
 *
 * A container's size is limited by the quota group of its subvolume, which counts what it shares with its image, too.
 * Counting costs a little on every write, so it is enabled when the first limit is asked for.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { humanSize } from "#go-values/size.ts";
import {
  createSubvolume,
  enableQuotas,
  isBtrfsPath,
  limitSubvolume,
  snapshotSubvolume,
  waitForQuotaScan,
} from "#kernel/btrfs.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import { tryRemoveSubvolume } from "#storage/btrfs/remove-subvolume.ts";
import {
  cannotLimit,
  cannotStart,
  checkSize,
  parseDriverOption,
  sizeOption,
} from "#storage/driver-options.ts";
import type { Owner, SizeOptions } from "#storage/driver-types.ts";
import { removeIfExists } from "#storage/layer-files.ts";
import { nearestDriver } from "#storage/nearest-driver.ts";
import { type LayerTrees, WholeLayerDriver } from "#storage/whole-layers.ts";

/** Of the interface of ioctls, as the library that Docker links with numbers it. */
const interfaceVersion = "102";

export interface BtrfsOptions {
  /** The daemon's data root, on btrfs; layers live in `<dataRoot>/btrfs/subvolumes`. */
  dataRoot: string;
  /** "key=value" of `--storage-opt`. */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
}

/**
 * Makes the driver's directory. Throws "unavailable" with Docker's text where the data root is on another file system,
 * "invalid" for an option it does not know.
 */
export function createBtrfsDriver({ dataRoot, options = [], owner }: BtrfsOptions): WholeLayerDriver {
  if (!isBtrfsPath(dataRoot)) throw wrongFileSystem(dataRoot);
  let leastSize = 0;
  for (const option of options) {
    const { key, value } = parseDriverOption("btrfs", option);
    if (key !== "btrfs.min_space") throw cannotStart("btrfs", `Unknown option ${key}`);
    leastSize = checkSize("btrfs", value);
  }
  const base = join(dataRoot, "btrfs");
  // Docker's place for what limits there are.
  const quotas = join(base, "quotas");
  mkdirSync(quotas, { recursive: true, mode: 0o700 });
  return new WholeLayerDriver({
    name: "btrfs",
    base,
    home: "subvolumes",
    trees: new Subvolumes(quotas, leastSize),
    owner: owner ?? { uid: 0, gid: 0 },
  });
}

function wrongFileSystem(dataRoot: string): BerthError {
  const reason = "prerequisites for driver not satisfied (wrong filesystem?)";
  return new BerthError("unavailable", `error initializing graphdriver: ${reason}`, {
    operation: "start storage driver",
    object: "btrfs",
    hint: `${dataRoot} is not on btrfs; put the data root on one, or choose another storage driver: --storage-driver ${nearestDriver(dataRoot)}`,
  });
}

class Subvolumes implements LayerTrees {
  readonly instant = true;
  readonly removal = new BackgroundRemoval({
    attempt: tryRemoveSubvolume,
    task: (path) => ({ kind: "remove-subvolume", path }),
  });
  readonly #quotas: string;
  readonly #leastSize: number;

  constructor(quotas: string, leastSize: number) {
    this.#quotas = quotas;
    this.#leastSize = leastSize;
  }

  async makeEmpty(home: string, name: string): Promise<void> {
    using directory = openDirectory(home);
    await createSubvolume(directory.number, name);
  }

  async makeCopy(source: string, home: string, name: string): Promise<void> {
    using directory = openDirectory(home);
    using below = openDirectory(source);
    await snapshotSubvolume(below.number, directory.number, name);
  }

  async limit(cacheId: string, path: string, bytes: number): Promise<void> {
    using subvolume = openDirectory(path);
    const attempt = () => limitSubvolume(subvolume.number, bytes);
    try {
      await attempt();
    } catch (error) {
      if (!isErrno(error, "ENOTCONN")) throw error;
      await enableOnce(subvolume.number);
      await attempt();
    }
    writeFileSync(join(this.#quotas, cacheId), String(bytes), { mode: 0o600 });
  }

  forget(cacheId: string): void {
    removeIfExists(join(this.#quotas, cacheId));
  }

  async status(): Promise<[string, string][]> {
    return [
      ["Build Version", `Btrfs v${release()}`],
      ["Library Version", interfaceVersion],
    ];
  }

  sizeLimit(options: SizeOptions): number | undefined {
    const size = sizeOption("btrfs", options);
    if (size === undefined) return undefined;
    if (size === 0) throw cannotLimit("btrfs", "btrfs: invalid storage size: 0B");
    if (size < this.#leastSize) {
      throw cannotLimit("btrfs", `btrfs: storage size cannot be less than ${humanSize(this.#leastSize)}`);
    }
    return size;
  }

  async close(): Promise<void> {}
}

/** Somebody else may have enabled them meanwhile, or asked for a count. */
async function enableOnce(fd: number): Promise<void> {
  try {
    await enableQuotas(fd);
  } catch (error) {
    if (!isErrno(error, "EINPROGRESS", "EBUSY", "EEXIST")) throw error;
    await waitForQuotaScan(fd);
  }
}

function openDirectory(path: string): FileDescriptor {
  return new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
}
