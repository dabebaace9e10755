/**
 * Which storage driver a daemon uses: the one it was told, the one whose layers its data root holds, or the best that works
 * there.
 *
 * Images belong to the driver they were pulled with; another one would neither see them nor know whose directories they
 * are. So a data root with layers is opened with their driver or not at all.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { isBtrfsPath } from "#kernel/btrfs.ts";
import { statfs } from "#kernel/file-system-status.ts";
import { createAufsDriver } from "#storage/aufs/aufs-driver.ts";
import { createBtrfsDriver } from "#storage/btrfs/btrfs-driver.ts";
import { baseName } from "#storage/devicemapper/device-rows.ts";
import { createDevicemapperDriver } from "#storage/devicemapper/devicemapper-driver.ts";
import type { Owner, StorageDriver } from "#storage/driver-types.ts";
import { nearestDriver } from "#storage/nearest-driver.ts";
import { linkDirectory } from "#storage/overlay2/layer-links.ts";
import { createOverlay2Driver } from "#storage/overlay2/overlay2-driver.ts";
import { createVfsDriver } from "#storage/vfs/vfs-driver.ts";

export interface DriverRequest {
  dataRoot: string;
  /** "btrfs", "overlay2", "devicemapper", "aufs", "vfs"; "" leaves the choice to us. */
  name: string;
  /** "key=value", as `--storage-opt` and `storage-opts` have them. */
  options: readonly string[];
  logger: Logger;
  /** Who owns the root directory of a lowest layer; default root. */
  owner?: Owner;
  /** Where the program that serves aufs's unions listens; in the driver's own directory if not given. */
  unionSocket?: string;
}

interface DriverKind {
  name: string;
  open(request: DriverRequest): StorageDriver;
  /** The directory its layers are in. */
  layers: string;
  /** Is it worth trying on this data root where none was asked for? Everywhere, if not given. */
  suits?(dataRoot: string): boolean;
}

/** The better before the worse, in Docker's order; the last works everywhere. */
const drivers: readonly DriverKind[] = [
  {
    name: "btrfs",
    open: createBtrfsDriver,
    layers: join("btrfs", "subvolumes"),
    suits: isBtrfsPath,
  },
  { name: "overlay2", open: createOverlay2Driver, layers: "overlay2" },
  {
    name: "devicemapper",
    open: createDevicemapperDriver,
    layers: join("devicemapper", "metadata"),
    // For who asks for it, and for the layers that it has made.
    suits: () => false,
  },
  {
    name: "aufs",
    open: createAufsDriver,
    layers: join("aufs", "diff"),
    // For who asks for it, and for the layers that it has made.
    suits: () => false,
  },
  { name: "vfs", open: createVfsDriver, layers: join("vfs", "dir") },
];

/** Names that `--storage-driver` takes. */
export const driverNames: readonly string[] = drivers.map(({ name }) => name);

/**
 * Throws "invalid" for an unknown driver or option, "conflict" where the data root holds another driver's layers,
 * "unavailable" where the one asked for does not work.
 */
export function openStorageDriver(request: DriverRequest): StorageDriver {
  const driver = chosenDriver(request);
  tellOfMount(request, driver.name);
  return driver;
}

/** Containers' roots in directories of the data root's own mount have its limits; those that are mounted have not. */
function tellOfMount({ dataRoot, logger }: DriverRequest, driver: string): void {
  if (driver !== "vfs" && driver !== "btrfs") return;
  const { noPrograms, noDevices } = statfs(dataRoot);
  const hint = "mount it without this option, or choose a driver that mounts: overlay2";
  if (noPrograms)
    logger.warn("the data root is mounted noexec: no container can start a program", { driver, hint });
  if (noDevices)
    logger.warn("the data root is mounted nodev: images' device files cannot be opened", { driver, hint });
}

function chosenDriver(request: DriverRequest): StorageDriver {
  const { name, dataRoot } = request;
  const used = drivers.filter(({ layers }) => holdsLayers(join(dataRoot, layers)));
  if (name === "") return chooseDriver(request, used);
  const asked = drivers.find((driver) => driver.name === name);
  if (asked === undefined) throw unknownDriver(request);
  const other = used.find((driver) => driver.name !== name);
  if (other !== undefined && !used.includes(asked)) throw wouldChange(request, other.name);
  return asked.open(request);
}

function chooseDriver(request: DriverRequest, used: readonly DriverKind[]): StorageDriver {
  const [first, second] = used;
  if (first !== undefined) {
    if (second !== undefined) throw ambiguous(request.dataRoot, used);
    return first.open(request);
  }
  for (const driver of drivers.slice(0, -1)) {
    if (driver.suits?.(request.dataRoot) === false) continue;
    try {
      return driver.open(request);
    } catch (error) {
      if (!isBerthError(error, "unavailable")) throw error;
      const reason = error.message;
      request.logger.warn("the storage driver does not work here; trying the next", {
        driver: driver.name,
        reason,
      });
    }
  }
  return (drivers.at(-1) as DriverKind).open(request);
}

/** Is there anything but what is the driver's own, and what is unfinished or on its way out? */
function holdsLayers(directory: string): boolean {
  if (!existsSync(directory)) return false;
  return readdirSync(directory).some(
    (name) => name !== linkDirectory && name !== baseName && !name.startsWith("."),
  );
}

function unknownDriver({ name, dataRoot }: DriverRequest): BerthError {
  return new BerthError("invalid", `error initializing graphdriver: driver not supported: ${name}`, {
    operation: "start storage driver",
    object: name,
    hint: `Berth has ${driverNames.join(", ")}; the nearest here: --storage-driver ${nearestDriver(dataRoot)}`,
  });
}

function wouldChange({ dataRoot, name }: DriverRequest, other: string): BerthError {
  return new BerthError(
    "conflict",
    `error initializing graphdriver: ${dataRoot} holds layers of storage driver ${other}; they cannot be used with ${name}`,
    {
      operation: "start storage driver",
      object: name,
      hint:
        `Go on with --storage-driver ${other}. To change, keep what you need with docker save, ` +
        `start with another --data-root, and docker load it there.`,
    },
  );
}

function ambiguous(dataRoot: string, used: readonly DriverKind[]): BerthError {
  const names = used.map(({ name }) => name).join(", ");
  return new BerthError(
    "conflict",
    `error initializing graphdriver: ${dataRoot} contains several valid graphdrivers: ${names}; please cleanup or explicitly choose storage driver (-s <DRIVER>)`,
    { operation: "start storage driver", object: names },
  );
}
