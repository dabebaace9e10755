/**
 * A pool of our own: on sparse files (loop-lvm, for a first try on any machine), or on two block devices that were named.
 *
 * A pool that an earlier daemon left active, since containers run in it, is taken as it is. Metadata that is there is
 * never made anew: the kernel would do that with a first block of zeros, so such a file is refused where rows say that
 * there were layers.
 */
import { existsSync, mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { blockDeviceSize, deviceNumber, LoopDevice } from "#kernel/block-devices.ts";
import type { DeviceMapper } from "#kernel/device-mapper.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { DevicemapperOptions } from "#storage/devicemapper/devicemapper-options.ts";
import type { PoolPlace } from "#storage/devicemapper/pool-place.ts";
import { sectorSize } from "#storage/devicemapper/thin-pool.ts";

/** Free blocks at which the kernel sends an event: Docker's number. */
const lowWater = 32_768;
/** The first block of a pool's metadata, as drivers/md/dm-thin-metadata.c has it; little-endian. */
const superblock = { size: 4096, magicAt: 32, magic: 27_022_010n, blockSizeAt: 336 };

interface Making {
  /** `<data root>/devicemapper`. */
  base: string;
  name: string;
  options: DevicemapperOptions;
  /** Are there rows, so that the pool must not be a new one? */
  used: boolean;
  logger: Logger;
}

/** Throws "internal" where what should be a pool is none any more; nothing is changed then. */
export async function openOwnPool(
  mapper: DeviceMapper,
  { base, name, options, used, logger }: Making,
): Promise<PoolPlace> {
  const place = {
    name,
    own: true,
    dataDevice: options.dataDevice,
    metadataDevice: options.metadataDevice,
    dataFile: options.dataDevice === "" ? join(base, "devicemapper", "data") : "",
    metadataFile: options.metadataDevice === "" ? join(base, "devicemapper", "metadata") : "",
  };
  if (place.dataFile !== "" || place.metadataFile !== "") {
    logger.warn(
      "Usage of loopback devices is strongly discouraged for production use. Please use `--storage-opt dm.thinpooldev` or use `man dockerd` to refer to dm.thinpooldev section.",
      { "storage-driver": "devicemapper" },
    );
  }
  if (await isActive(mapper, name)) {
    if (place.dataFile !== "") place.dataDevice = LoopDevice.of(place.dataFile)[0] ?? "";
    if (place.metadataFile !== "") place.metadataDevice = LoopDevice.of(place.metadataFile)[0] ?? "";
    return place;
  }
  mkdirSync(join(base, "devicemapper"), { recursive: true, mode: 0o700 });
  if (place.dataFile !== "") await makeFile(place.dataFile, options.loopDataSize, used);
  if (place.metadataFile !== "") await makeFile(place.metadataFile, options.loopMetadataSize, used);
  const blockSize = await knownBlockSize(place.metadataFile || place.metadataDevice, used);
  // Open until the pool has them open, too.
  using loops = new DisposableStack();
  const attach = (file: string) => loops.use(LoopDevice.attach(file)).path;
  if (place.dataFile !== "") place.dataDevice = attach(place.dataFile);
  if (place.metadataFile !== "") place.metadataDevice = attach(place.metadataFile);
  await createPool(mapper, place, blockSize ?? options.blockSize);
  return place;
}

/** One that a crash left without a table goes. */
async function isActive(mapper: DeviceMapper, name: string): Promise<boolean> {
  const state = await mapper.state(name);
  if (state === undefined) return false;
  if (state.suspended) await mapper.resume(name);
  if (state.active) return true;
  await mapper.remove(name);
  return false;
}

/** A sparse file; one that is there grows if a larger one is wanted. */
async function makeFile(path: string, size: number, used: boolean): Promise<void> {
  if (used && !existsSync(path)) throw damaged(path, "is not there");
  await using file = await open(path, "a", 0o600);
  const { size: now } = await file.stat();
  if (now < size) await file.truncate(size);
}

/** Bytes of the blocks of a pool that was made before; undefined for a new one. */
async function knownBlockSize(path: string, used: boolean): Promise<number | undefined> {
  await using file = await open(path, "r");
  const block = Buffer.alloc(superblock.size);
  const { bytesRead } = await file.read(block, 0, block.length, 0);
  const empty = block.every((byte) => byte === 0);
  if (!used && empty) return undefined;
  if (empty) throw damaged(path, "is empty");
  const known = bytesRead === block.length && block.readBigUInt64LE(superblock.magicAt) === superblock.magic;
  if (!known) throw damaged(path, "is no metadata of a thin pool");
  return block.readUInt32LE(superblock.blockSizeAt) * sectorSize;
}

async function createPool(
  mapper: DeviceMapper,
  { name, dataDevice, metadataDevice, metadataFile }: PoolPlace,
  blockSize: number,
): Promise<void> {
  const blocks = Math.floor(blockDeviceSize(dataDevice) / blockSize);
  const parameters = [
    deviceNumber(metadataDevice),
    deviceNumber(dataDevice),
    blockSize / sectorSize,
    lowWater,
    // Nobody can extend it while it runs: who writes to a full one is told at once.
    2,
    "skip_block_zeroing",
    "error_if_no_space",
  ].join(" ");
  const length = (blocks * blockSize) / sectorSize;
  try {
    await mapper.create(name, [{ start: 0, length, type: "thin-pool", parameters }]);
  } catch (cause) {
    if (isErrno(cause, "EBUSY")) throw inUse(dataDevice, metadataDevice, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw damaged(metadataFile || metadataDevice, `makes no thin pool: ${reason}`, cause);
  }
}

function inUse(dataDevice: string, metadataDevice: string, cause: unknown): BerthError {
  return new BerthError(
    "conflict",
    `error initializing graphdriver: devmapper: ${dataDevice} or ${metadataDevice} is in use`,
    {
      operation: "start storage driver",
      object: dataDevice,
      hint: "dmsetup ls --tree, lsblk and mount show by whom.",
      cause,
    },
  );
}

function damaged(path: string, what: string, cause?: unknown): BerthError {
  return new BerthError("internal", `error initializing graphdriver: devmapper: ${path} ${what}`, {
    operation: "start storage driver",
    object: path,
    hint: "Nothing was changed. Look at the metadata with thin_check and thin_dump; thin_repair writes what can be saved of it to another file.",
    ...(cause === undefined ? {} : { cause }),
  });
}
