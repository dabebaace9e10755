/**
 * The `dm.…` options of the daemon: which pool, how it is made, and how its devices are. Refused with Docker's texts.
 */
import { cannotStart, checkBoolean, checkSize, parseDriverOption } from "#storage/driver-options.ts";

export const driverName = "devicemapper";

/** How a volume group is made of a bare device. Percents; 0 where none was given. */
export interface DirectLvm {
  device: string;
  dataPercent: number;
  metadataPercent: number;
  extendThreshold: number;
  extendPercent: number;
}

export interface DevicemapperOptions {
  /** Bytes of the sparse files. */
  loopDataSize: number;
  loopMetadataSize: number;
  /** Block devices in place of the files; "" for none. */
  dataDevice: string;
  metadataDevice: string;
  /** Name of a pool that is there already; "" for none. */
  pool: string;
  directLvm: DirectLvm | undefined;
  /** The device may have a file system, which is lost. */
  force: boolean;
  /** Bytes of each layer's device; undefined leaves a base that is there as it is. */
  baseSize: number | undefined;
  /** "" leaves the choice to us. */
  fileSystem: "" | "xfs" | "ext4";
  mkfsArguments: string[];
  mountOptions: string[];
  /** Bytes that the pool hands out at once. */
  blockSize: number;
  /** Percent of the pool that is kept free. */
  minFreeSpace: number;
  deferredRemoval: boolean;
  deferredDeletion: boolean;
  /** Removed devices give their blocks back to the file below; undefined: where there is one. */
  discard: boolean | undefined;
  /** What xfs does when the pool is full; undefined leaves it to the kernel. */
  xfsRetries: string | undefined;
}

const gigabyte = 1024 ** 3;
export const defaultBaseSize: number = 10 * gigabyte;
/** Levels of libdm's log, fatal to debug. */
const logLevels = { least: 2, most: 7 };

export function parseDevicemapperOptions(options: readonly string[]): DevicemapperOptions {
  const parsed: DevicemapperOptions = {
    loopDataSize: 100 * gigabyte,
    loopMetadataSize: 2 * gigabyte,
    dataDevice: "",
    metadataDevice: "",
    pool: "",
    directLvm: undefined,
    force: false,
    baseSize: undefined,
    fileSystem: "",
    mkfsArguments: [],
    mountOptions: [],
    blockSize: 64 * 1024,
    minFreeSpace: 10,
    deferredRemoval: true,
    deferredDeletion: true,
    discard: undefined,
    xfsRetries: undefined,
  };
  const lvm = { device: "", dataPercent: 0, metadataPercent: 0, extendThreshold: 0, extendPercent: 0 };
  for (const option of options) {
    const { key, value } = parseDriverOption(driverName, option);
    if (!parseOne(parsed, lvm, key, value)) throw refused(`devmapper: Unknown option ${key}`);
  }
  checkTogether(parsed, lvm);
  return parsed;
}

/** False for an option that there is not. */
function parseOne(parsed: DevicemapperOptions, lvm: DirectLvm, key: string, value: string): boolean {
  switch (key) {
    case "dm.basesize":
      parsed.baseSize = checkSize(driverName, value);
      break;
    case "dm.loopdatasize":
      parsed.loopDataSize = checkSize(driverName, value);
      break;
    case "dm.loopmetadatasize":
      parsed.loopMetadataSize = checkSize(driverName, value);
      break;
    case "dm.blocksize":
      parsed.blockSize = checkBlockSize(value);
      break;
    case "dm.fs":
      if (value !== "ext4" && value !== "xfs") throw refused(`devmapper: Unsupported filesystem ${value}`);
      parsed.fileSystem = value;
      break;
    case "dm.mkfsarg":
      parsed.mkfsArguments.push(value);
      break;
    case "dm.mountopt":
      parsed.mountOptions.push(value);
      break;
    case "dm.datadev":
      parsed.dataDevice = value;
      break;
    case "dm.metadatadev":
      parsed.metadataDevice = value;
      break;
    case "dm.thinpooldev":
      parsed.pool = value.replace(/^\/dev\/mapper\//, "");
      break;
    case "dm.min_free_space":
      parsed.minFreeSpace = minFreeSpace(value);
      break;
    case "dm.use_deferred_removal":
      parsed.deferredRemoval = boolean(value);
      break;
    case "dm.use_deferred_deletion":
      parsed.deferredDeletion = boolean(value);
      break;
    case "dm.blkdiscard":
      parsed.discard = boolean(value);
      break;
    case "dm.override_udev_sync_check":
      // There is nothing to override: devices are made without udev.
      boolean(value);
      break;
    case "dm.xfs_nospace_max_retries":
      parsed.xfsRetries = String(
        wholeNumber(value, `strconv.ParseUint: parsing ${JSON.stringify(value)}: invalid syntax`),
      );
      break;
    case "dm.libdm_log_level":
      checkLogLevel(value);
      break;
    case "dm.directlvm_device":
      lvm.device = value;
      break;
    case "dm.directlvm_device_force":
      parsed.force = boolean(value);
      break;
    case "dm.thinp_percent":
      lvm.dataPercent = percent(key, value, 99);
      break;
    case "dm.thinp_metapercent":
      lvm.metadataPercent = percent(key, value, 99);
      break;
    case "dm.thinp_autoextend_percent":
      lvm.extendPercent = percent(key, value, 100);
      break;
    case "dm.thinp_autoextend_threshold":
      lvm.extendThreshold = percent(key, value, 100);
      break;
    default:
      return false;
  }
  return true;
}

function checkTogether(parsed: DevicemapperOptions, lvm: DirectLvm): void {
  if (parsed.deferredDeletion && !parsed.deferredRemoval) {
    throw refused(
      "devmapper: Deferred deletion can not be enabled as deferred removal is not enabled. Enable deferred removal using --storage-opt dm.use_deferred_removal=true parameter",
    );
  }
  const { device, dataPercent, metadataPercent, extendPercent, extendThreshold } = lvm;
  if (device === "" && dataPercent + metadataPercent + extendPercent + extendThreshold === 0) return;
  if (device === "") {
    throw refused("must provide device path in `dm.directlvm_device` in order to configure direct-lvm");
  }
  if (dataPercent > 0 !== metadataPercent > 0) {
    throw refused("must set both `dm.thinp_percent` and `dm.thinp_metapercent` if either is specified");
  }
  if (dataPercent + metadataPercent > 100) {
    throw refused("combined `dm.thinp_percent` and `dm.thinp_metapercent` must not be greater than 100");
  }
  if (parsed.pool !== "") throw refused("cannot setup direct-lvm when `dm.thinpooldev` is also specified");
  parsed.directLvm = lvm;
}

/** The kernel takes multiples of 64 KiB up to 1 GiB. */
function checkBlockSize(value: string): number {
  const size = checkSize(driverName, value);
  const unit = 64 * 1024;
  if (size >= unit && size <= gigabyte && size % unit === 0) return size;
  throw refused(`devmapper: Invalid value ${value} for option dm.blocksize`);
}

function minFreeSpace(value: string): number {
  if (!value.endsWith("%")) throw refused("devmapper: Option dm.min_free_space requires % suffix");
  const text = value.slice(0, -1);
  const found = wholeNumber(text, `strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (found >= 100) throw refused(`devmapper: Invalid value ${value} for option dm.min_free_space`);
  return found;
}

function percent(key: string, value: string, most: number): number {
  const text = value.replace(/%$/, "");
  const reason = `could not parse \`${key}=${value}\`: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  const found = wholeNumber(text, reason);
  if (found > most) throw refused(`${key} must be greater than 0 and less than 100`);
  return found;
}

function wholeNumber(text: string, reason: string): number {
  if (!/^\d{1,15}$/.test(text)) throw refused(reason);
  return Number(text);
}

function checkLogLevel(value: string): void {
  const { least, most } = logLevels;
  const level = /^[+-]?\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isNaN(level)) {
    const reason = `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`;
    throw refused(`could not parse \`dm.libdm_log_level=${value}\`: ${reason}`);
  }
  if (level < least || level > most) throw refused(`dm.libdm_log_level must be in range [${least},${most}]`);
}

function boolean(value: string): boolean {
  checkBoolean(driverName, value);
  return /^(1|t|true)$/i.test(value);
}

function refused(reason: string) {
  return cannotStart(driverName, reason);
}
