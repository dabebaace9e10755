/**
 * The device that every lowest layer is a snapshot of: an empty file system with the directory `rootfs`. Made once for a
 * pool; known again by the file system's identity, so that another pool is never taken for ours.
 */

import { chmod, chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { humanSize } from "#go-values/size.ts";
import {
  chooseFileSystem,
  growFileSystem,
  identify,
  makeFileSystem,
} from "#storage/devicemapper/base-file-system.ts";
import { baseName, type DeviceRow, type DeviceRows, newBaseName } from "#storage/devicemapper/device-rows.ts";
import {
  type DevicemapperOptions,
  defaultBaseSize,
  driverName,
} from "#storage/devicemapper/devicemapper-options.ts";
import type { MountedLayers } from "#storage/devicemapper/mounted-layers.ts";
import type { PoolPlace } from "#storage/devicemapper/pool-place.ts";
import type { ThinPool } from "#storage/devicemapper/thin-pool.ts";
import { cannotStart } from "#storage/driver-options.ts";
import type { Owner } from "#storage/driver-types.ts";

interface BaseRequest {
  pool: ThinPool;
  rows: DeviceRows;
  mounted: MountedLayers;
  place: PoolPlace;
  options: DevicemapperOptions;
  /** Of `rootfs`. */
  owner: Owner;
}

/** Throws "invalid" with Docker's text where the pool is not the one of the rows, or somebody else's. */
export async function openBase(request: BaseRequest): Promise<void> {
  const row = request.rows.get(baseName);
  if (row === undefined) return await makeBase(request);
  await checkIdentity(request, row);
  const { baseSize } = request.options;
  if (baseSize === undefined || baseSize === row.size) return;
  if (baseSize < row.size) {
    throw cannotStart(
      driverName,
      `devmapper: Base fs size: ${humanSize(baseSize)} cannot be smaller than ${humanSize(row.size)}`,
    );
  }
  await growBase(request, row, baseSize);
}

async function checkIdentity({ pool }: BaseRequest, row: DeviceRow): Promise<void> {
  const device = await pool.activate(baseName, row.device_id, row.size);
  try {
    const found = identify(device);
    if (found?.uuid === row.uuid) return;
    throw cannotStart(
      driverName,
      `devmapper: Current Base Device UUID:${found?.uuid ?? ""} does not match with stored UUID:${row.uuid}. Possibly using a different thin pool than last invocation`,
    );
  } finally {
    await pool.deactivate(baseName);
  }
}

async function makeBase(request: BaseRequest): Promise<void> {
  const { pool, rows, mounted, place, options, owner } = request;
  // Whatever is active is what a crash left of an earlier attempt.
  await mounted.releaseUnheld();
  if (!place.own) await checkNobodys(pool);
  await pool.check(options.minFreeSpace);
  const kind = chooseFileSystem(options);
  const size = options.baseSize ?? defaultBaseSize;
  // What a crash left goes with the others of its kind.
  const name = newBaseName;
  const before = rows.get(name);
  const row = { device_id: before?.device_id ?? rows.nextId(), size: size - (size % 512), filesystem: kind };
  await rows.put(name, row);
  await pool.delete(row.device_id);
  await pool.createThin(row.device_id);
  const device = await pool.activate(name, row.device_id, row.size);
  try {
    await makeFileSystem(kind, device, options.mkfsArguments);
    const uuid = identify(device)?.uuid;
    if (uuid === undefined) throw cannotStart(driverName, `devmapper: mkfs.${kind} made no ${kind}`);
    await rows.put(name, { ...row, uuid });
  } finally {
    await pool.deactivate(name);
  }
  {
    await using _held = await mounted.hold(name);
    const root = join(mounted.path(name), "rootfs");
    await mkdir(root, { recursive: true, mode: 0o755 });
    await chown(root, owner.uid, owner.gid);
    await chmod(root, 0o755);
  }
  rows.rename(name, baseName);
}

/** Somebody else's layers are in a pool that is not empty. */
async function checkNobodys(pool: ThinPool): Promise<void> {
  const { data, transaction } = await pool.state();
  const refused = (why: string) =>
    cannotStart(driverName, `devmapper: Unable to take ownership of thin-pool (${pool.name}) ${why}`);
  if (data.used !== 0) throw refused("that already has used data blocks");
  if (transaction !== 0) throw refused("with non-zero transaction ID");
}

/** For images that come from now on. */
async function growBase({ pool, rows, mounted }: BaseRequest, row: DeviceRow, size: number): Promise<void> {
  // Its device may be larger than its file system, not the other way round: grown again if a crash comes between.
  await rows.put(baseName, { ...row, size: size - (size % 512) });
  await using _held = await mounted.hold(baseName);
  await growFileSystem(rows.fileSystem, pool.path(baseName), mounted.path(baseName));
}
