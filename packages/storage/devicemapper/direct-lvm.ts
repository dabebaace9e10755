/**
 * direct-lvm: a block device becomes a volume group `docker` with the thin pool `thinpool`, by LVM's programs, once. What
 * it was made with is remembered in `setup-config.json`, as Docker does.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { DeviceMapper } from "#kernel/device-mapper.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { DirectLvm } from "#storage/devicemapper/devicemapper-options.ts";
import { driverName } from "#storage/devicemapper/devicemapper-options.ts";
import type { PoolPlace } from "#storage/devicemapper/pool-place.ts";
import { runTool } from "#storage/devicemapper/run-tool.ts";
import { cannotStart } from "#storage/driver-options.ts";

const group = "docker";
const pool = "thinpool";
const profile = "docker-thinpool";
const profiles = "/etc/lvm/profile";
/** Docker's, where none are given. */
const usual = { dataPercent: 95, metadataPercent: 1, extendThreshold: 80, extendPercent: 20 };

/** A pool somebody made: named by `dm.thinpooldev`, or LVM's. Throws "invalid" where there is none. */
export async function openGivenPool(mapper: DeviceMapper, name: string): Promise<PoolPlace> {
  const state = await mapper.state(name);
  if (state === undefined) {
    throw cannotStart(
      driverName,
      `devmapper: Non existing device ${name}`,
      "dmsetup ls shows which there are.",
    );
  }
  const [target] = await mapper.status(name);
  if (target?.type !== "thin-pool") throw cannotStart(driverName, `devmapper: ${name} is no thin pool`);
  return { name, own: false, dataDevice: "", metadataDevice: "", dataFile: "", metadataFile: "" };
}

/** Makes the volume group if it was not made before. `base`: where that is remembered. Answers the pool's name. */
export async function setUpDirectLvm(
  mapper: DeviceMapper,
  base: string,
  wanted: DirectLvm,
  force: boolean,
): Promise<string> {
  const file = join(base, "setup-config.json");
  const before = readConfig(file);
  if (before === undefined) {
    await checkDevice(wanted.device, force);
    await makePool(wanted);
    writeFileSync(file, toConfig(wanted), { mode: 0o600 });
  } else if (before !== toConfig(wanted)) {
    throw cannotStart(driverName, "changing direct-lvm config is not supported");
  }
  const name = `${group}-${pool}`;
  // After a start of the machine where nobody activates volumes.
  if ((await mapper.state(name)) === undefined) await runTool("lvchange", ["-ay", "-K", `${group}/${pool}`]);
  return name;
}

function readConfig(file: string): string | undefined {
  try {
    const text = readFileSync(file, "utf8");
    return text === "" ? undefined : JSON.stringify(JSON.parse(text));
  } catch (cause) {
    if (isErrno(cause, "ENOENT")) return undefined;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw cannotStart(driverName, `error unmarshaling previous device setup config: ${reason}`, file, cause);
  }
}

/** In Docker's form. */
function toConfig(lvm: DirectLvm): string {
  return JSON.stringify({
    Device: lvm.device,
    ThinpPercent: lvm.dataPercent,
    ThinpMetaPercent: lvm.metadataPercent,
    AutoExtendPercent: lvm.extendPercent,
    AutoExtendThreshold: lvm.extendThreshold,
  });
}

/** Throws "invalid" for a device that is not there, is used, or has a file system that nobody said may go. */
async function checkDevice(device: string, force: boolean): Promise<void> {
  try {
    // The kernel refuses this for what is mounted or part of another device.
    const flags = "r+";
    await using _file = await open(device, flags);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw cannotStart(driverName, `${device} is not available for use with devicemapper`, reason, cause);
  }
  const volume = await ask("pvs", ["--noheadings", "-o", "vg_name", device]);
  if (volume !== "") {
    throw cannotStart(
      driverName,
      `${device} is already part of a volume group "${volume}": must remove this device from any volume group or provide a different device`,
    );
  }
  if (force || (await ask("blkid", ["-o", "value", "-s", "TYPE", device])) === "") return;
  throw cannotStart(
    driverName,
    `${device} has a filesystem already, use dm.directlvm_device_force=true if you want to wipe the device`,
  );
}

/** What a program says; nothing where it is not there, or finds nothing. */
async function ask(name: string, args: readonly string[]): Promise<string> {
  try {
    return (await runTool(name, args)).trim();
  } catch (error) {
    if (isBerthError(error)) return "";
    throw error;
  }
}

async function makePool(lvm: DirectLvm): Promise<void> {
  const percent = (value: number, other: number) => String(value || other);
  const data = percent(lvm.dataPercent, usual.dataPercent);
  const metadata = percent(lvm.metadataPercent, usual.metadataPercent);
  const whole = `${group}/${pool}`;
  const steps: [name: string, ...args: string[]][] = [
    ["pvcreate", "-f", "-y", lvm.device],
    ["vgcreate", group, lvm.device],
    ["lvcreate", "-y", "--wipesignatures", "y", "-n", pool, group, "--extents", `${data}%VG`],
    ["lvcreate", "-y", "--wipesignatures", "y", "-n", `${pool}meta`, group, "--extents", `${metadata}%VG`],
    ["lvconvert", "-y", "--zero", "n", "-c", "512K", "--thinpool", whole, "--poolmetadata", `${whole}meta`],
  ];
  try {
    for (const [name, ...args] of steps) await runTool(name, args);
    writeProfile(lvm);
    await runTool("lvchange", ["--metadataprofile", profile, whole]);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const hint =
      cause instanceof BerthError && cause.hint !== undefined
        ? cause.hint
        : `vgremove ${group} and pvremove ${lvm.device} undo what was made of it.`;
    throw cannotStart(driverName, `setting up direct-lvm: ${reason}`, hint, cause);
  }
}

/** LVM extends the pool by itself when it is so full, if its monitor runs. */
function writeProfile({ extendThreshold, extendPercent }: DirectLvm): void {
  mkdirSync(profiles, { recursive: true });
  const settings = [
    `thin_pool_autoextend_threshold=${extendThreshold || usual.extendThreshold}`,
    `thin_pool_autoextend_percent=${extendPercent || usual.extendPercent}`,
  ];
  const text = `activation {\n${settings.map((line) => `\t${line}\n`).join("")}}\n`;
  writeFileSync(join(profiles, `${profile}.profile`), text, { mode: 0o600 });
}
