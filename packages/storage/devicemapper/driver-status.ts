/** What `docker info` tells of the driver: Docker's pairs, in Docker's order. */

import { statfs } from "node:fs/promises";
import { humanSize } from "#go-values/size.ts";
import type { DeviceMapper } from "#kernel/device-mapper.ts";
import { baseName, type DeviceRows } from "#storage/devicemapper/device-rows.ts";
import type { DevicemapperOptions } from "#storage/devicemapper/devicemapper-options.ts";
import type { PoolPlace } from "#storage/devicemapper/pool-place.ts";
import type { ThinPool } from "#storage/devicemapper/thin-pool.ts";

/** Bytes: blocks of a pool's metadata are always so long. */
const metadataBlock = 4096;

export interface StatusParts {
  mapper: DeviceMapper;
  place: PoolPlace;
  pool: ThinPool;
  rows: DeviceRows;
  options: DevicemapperOptions;
}

export async function driverStatus({
  mapper,
  place,
  pool,
  rows,
  options,
}: StatusParts): Promise<[string, string][]> {
  const { data, metadata } = await pool.state();
  const blockSize = await pool.blockSize();
  const base = rows.get(baseName);
  const whenKnown = (name: string, value: string): [string, string][] =>
    value === "" ? [] : [[name, value]];
  return [
    ["Pool Name", pool.name],
    ["Pool Blocksize", humanSize(blockSize)],
    ["Base Device Size", humanSize(base?.size ?? 0)],
    ["Backing Filesystem", base?.filesystem ?? ""],
    // Nodes of devices are made without it, so there is nothing to be in step with.
    ["Udev Sync Supported", "true"],
    ...whenKnown("Data file", place.dataDevice),
    ...whenKnown("Metadata file", place.metadataDevice),
    ...whenKnown("Data loop file", place.dataFile),
    ...whenKnown("Metadata loop file", place.metadataFile),
    ...(await space("Data", data, blockSize, place.dataFile)),
    ...(await space("Metadata", metadata, metadataBlock, place.metadataFile)),
    [
      "Thin Pool Minimum Free Space",
      humanSize(Math.floor((data.total * options.minFreeSpace) / 100) * blockSize),
    ],
    ["Deferred Removal Enabled", String(options.deferredRemoval)],
    ["Deferred Deletion Enabled", String(options.deferredDeletion)],
    ["Deferred Deleted Device Count", String(rows.deletedCount)],
    // There is no library between: the interface of the kernel's ioctls.
    ["Library Version", `${await mapper.version()}-ioctl`],
  ];
}

/** A sparse file can take no more than is free where it lies. */
async function space(
  what: string,
  { used, total }: { used: number; total: number },
  block: number,
  file: string,
): Promise<[string, string][]> {
  let available = (total - used) * block;
  if (file !== "") {
    const { bfree, bsize } = await statfs(file);
    available = Math.min(available, bfree * bsize);
  }
  return [
    [`${what} Space Used`, humanSize(used * block)],
    [`${what} Space Total`, humanSize(total * block)],
    [`${what} Space Available`, humanSize(available)],
  ];
}
