/** What the kernel must have for this driver; said with the nearest driver that works where it lacks it. */
import { spawnSync } from "node:child_process";
import { BerthError } from "#errors/errors.ts";
import { type DeviceMapper, hasDeviceMapper } from "#kernel/device-mapper.ts";
import { driverName } from "#storage/devicemapper/devicemapper-options.ts";
import { nearestDriver } from "#storage/nearest-driver.ts";

/** Throws "unavailable" with Docker's text. Loads the module where it is one; at the start of the daemon. */
export function requireKernel(dataRoot: string): void {
  if (!hasDeviceMapper()) loadModule("dm-mod");
  if (!hasDeviceMapper()) throw unavailable(dataRoot, "this kernel has no device mapper (CONFIG_BLK_DEV_DM)");
}

export async function requireThinPools(mapper: DeviceMapper, dataRoot: string): Promise<void> {
  const known = async () => (await mapper.targetVersions()).has("thin-pool");
  if (await known()) return;
  loadModule("dm-thin-pool");
  if (!(await known()))
    throw unavailable(dataRoot, "this kernel has no thin provisioning (CONFIG_DM_THIN_PROVISIONING)");
}

function loadModule(name: string): void {
  // Not being there, or not being allowed to, shows by what is missing afterwards.
  spawnSync("modprobe", ["-q", name], { stdio: "ignore" });
}

function unavailable(dataRoot: string, why: string): BerthError {
  return new BerthError("unavailable", "error initializing graphdriver: driver not supported", {
    operation: "start storage driver",
    object: driverName,
    hint: `${why}; choose another storage driver: --storage-driver ${nearestDriver(dataRoot)}`,
  });
}
