/**
 * Devices that the kernel's device mapper makes, by the ioctls of `/dev/mapper/control` (linux/dm-ioctl.h).
 *
 * A suspended device waits for its writes and a message to a pool for its disk, so every call is made in a thread of
 * libuv's and answers a promise. Nodes of devices are made and removed here: no udev is needed, and one that is there makes
 * the same. Nobody else's devices are touched.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { ERRNO } from "#kernel/errno.ts";
import { fstatatIfExists, mknodat, S_IFBLK, S_IFCHR } from "#kernel/file-syscalls.ts";
import { inThread, libcFunction } from "#kernel/libc.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";

const directory = "/dev/mapper";
const controlPath = `${directory}/control`;

/** Version of the interface that is asked for: any 4.x answers. */
const interfaceVersion = [4, 0, 0] as const;

/** sizeof(struct dm_ioctl), and where it has what. */
const headerSize = 312;
const at = { dataSize: 12, dataStart: 16, targetCount: 20, openCount: 24, flags: 28, device: 40, name: 48 };
/** sizeof(struct dm_target_spec): start, length, status, next, type; its parameters follow. */
const targetSize = 40;
/** Bytes of an answer at first; the kernel says where that is too little. */
const answerSize = 16_384;

/** _IOWR(0xfd, number, struct dm_ioctl); equal on x64 and arm64. */
const request = (number: number) => 0xc138fd00 + number;
const calls = {
  VERSION: 0,
  LIST_DEVICES: 2,
  DEV_CREATE: 3,
  DEV_REMOVE: 4,
  DEV_SUSPEND: 6,
  DEV_STATUS: 7,
  TABLE_LOAD: 9,
  TABLE_STATUS: 12,
  LIST_VERSIONS: 13,
  TARGET_MSG: 14,
} as const;

const DM_SUSPEND_FLAG = 1 << 1;
const DM_STATUS_TABLE_FLAG = 1 << 4;
const DM_ACTIVE_PRESENT_FLAG = 1 << 5;
const DM_BUFFER_FULL_FLAG = 1 << 8;
/** Of a status: as it was last, without writing back what is new. */
const DM_NOFLUSH_FLAG = 1 << 11;
const DM_DEFERRED_REMOVE = 1 << 17;

const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");

/** One piece of a device, in sectors of 512 bytes. */
export interface DeviceTarget {
  start: number;
  length: number;
  /** "thin-pool", "thin", "linear". */
  type: string;
  /** As `dmsetup table` and `dmsetup status` show them. */
  parameters: string;
}

export interface DeviceState {
  /** How many opened it: a mount is one. */
  openCount: number;
  suspended: boolean;
  /** It has a table that is in use. */
  active: boolean;
  /** It goes when the last one closes it. */
  deferredRemove: boolean;
  major: number;
  minor: number;
}

/** Does the running kernel have it? */
export function hasDeviceMapper(): boolean {
  return controlMinor() !== undefined;
}

/** /proc/misc: " 236 device-mapper". */
function controlMinor(): number | undefined {
  const line = /^\s*(\d+) device-mapper$/m.exec(readFileSync("/proc/misc", "utf8"));
  return line === null ? undefined : Number(line[1]);
}

/** Where the node of a device is. */
export function devicePath(name: string): string {
  return `${directory}/${name}`;
}

export class DeviceMapper implements Disposable {
  readonly #control: number;

  /** Throws ENODEV where the kernel has none. */
  constructor() {
    const minor = controlMinor();
    if (minor === undefined) throw new SyscallError("open", ERRNO.ENODEV, [controlPath]);
    mkdirSync(directory, { recursive: true });
    // MISC_MAJOR.
    makeNode(controlPath, S_IFCHR | 0o600, 10, minor);
    this.#control = openSync(controlPath, "r+");
  }

  [Symbol.dispose](): void {
    closeSync(this.#control);
  }

  /** "4.47.0". */
  async version(): Promise<string> {
    const answer = await this.#call("VERSION", "", {});
    return [0, 4, 8].map((offset) => answer.readUInt32LE(offset)).join(".");
  }

  /** Kinds of targets that the kernel has now, by name: "1.22.0". */
  async targetVersions(): Promise<Map<string, string>> {
    const answer = await this.#call("LIST_VERSIONS", "", {});
    const versions = new Map<string, string>();
    // struct dm_target_versions: next (4), version (3 times 4), name.
    for (const entry of entries(answer, answer.readUInt32LE(at.dataStart), 0)) {
      const version = [4, 8, 12].map((offset) => entry.readUInt32LE(offset)).join(".");
      versions.set(textAt(entry, 16), version);
    }
    return versions;
  }

  /** Names of all devices there are. */
  async list(): Promise<string[]> {
    const answer = await this.#call("LIST_DEVICES", "", {});
    const start = answer.readUInt32LE(at.dataStart);
    if (answer.readUInt32LE(at.dataSize) <= start) return [];
    // struct dm_name_list: device (8), next (4), name. One with device 0 says that there are none.
    return [...entries(answer, start, 8)]
      .filter((entry) => entry.readBigUInt64LE(0) !== 0n)
      .map((entry) => textAt(entry, 12));
  }

  /** Undefined if there is no such device. */
  async state(name: string): Promise<DeviceState | undefined> {
    try {
      return decodeState(await this.#call("DEV_STATUS", name, {}));
    } catch (error) {
      if (isErrno(error, "ENXIO")) return undefined;
      throw error;
    }
  }

  /** A device with its table, in use, and its node. EBUSY where one has that name; of a failure nothing is left. */
  async create(name: string, targets: readonly DeviceTarget[]): Promise<DeviceState> {
    await this.#call("DEV_CREATE", name, {});
    try {
      await this.load(name, targets);
      const state = await this.resume(name);
      makeNode(devicePath(name), S_IFBLK | 0o600, state.major, state.minor);
      return state;
    } catch (error) {
      await this.remove(name);
      throw error;
    }
  }

  /** A table for the next `resume`. */
  async load(name: string, targets: readonly DeviceTarget[]): Promise<void> {
    await this.#call("TABLE_LOAD", name, { data: encodeTargets(targets), targets: targets.length });
  }

  /** Freezes its file system and waits until all that was written is on the disk; who writes waits until `resume`. */
  async suspend(name: string): Promise<void> {
    await this.#call("DEV_SUSPEND", name, { flags: DM_SUSPEND_FLAG });
  }

  async resume(name: string): Promise<DeviceState> {
    return decodeState(await this.#call("DEV_SUSPEND", name, {}));
  }

  /** EBUSY while somebody has it open, ENXIO where there is none. */
  async remove(name: string): Promise<void> {
    await this.#call("DEV_REMOVE", name, {});
    removeNode(name);
  }

  /** It goes as soon as nobody has it open. */
  async removeLater(name: string): Promise<void> {
    await this.#call("DEV_REMOVE", name, { flags: DM_DEFERRED_REMOVE });
    if ((await this.state(name)) === undefined) removeNode(name);
  }

  /** It stays after all. ENXIO where it is gone already. */
  async keep(name: string): Promise<void> {
    await this.message(name, "@cancel_deferred_remove");
  }

  /** Tells its target something: `create_snap 2 1` of a thin pool. */
  async message(name: string, message: string): Promise<void> {
    // struct dm_target_msg: sector (8), message.
    await this.#call("TARGET_MSG", name, { data: Buffer.concat([Buffer.alloc(8), text(message)]) }, [
      message,
    ]);
  }

  /** What its targets are made of. */
  table(name: string): Promise<DeviceTarget[]> {
    return this.#targets(name, DM_STATUS_TABLE_FLAG);
  }

  /** How its targets are, or were a moment ago: a pool writes nothing back for it. */
  status(name: string): Promise<DeviceTarget[]> {
    return this.#targets(name, DM_NOFLUSH_FLAG);
  }

  async #targets(name: string, flags: number): Promise<DeviceTarget[]> {
    const answer = await this.#call("TABLE_STATUS", name, { flags });
    const start = answer.readUInt32LE(at.dataStart);
    const targets: DeviceTarget[] = [];
    let offset = 0;
    for (let left = answer.readUInt32LE(at.targetCount); left > 0; left--) {
      const spec = answer.subarray(start + offset);
      targets.push({
        start: Number(spec.readBigUInt64LE(0)),
        length: Number(spec.readBigUInt64LE(8)),
        type: textAt(spec.subarray(0, targetSize), 24),
        parameters: textAt(spec, targetSize),
      });
      // Here it is counted from the first.
      offset = spec.readUInt32LE(20);
    }
    return targets;
  }

  async #call(
    name: keyof typeof calls,
    device: string,
    { flags = 0, data = Buffer.alloc(0), targets = 0 }: { flags?: number; data?: Buffer; targets?: number },
    shown: readonly string[] = [],
  ): Promise<Buffer> {
    for (let size = answerSize; ; size *= 4) {
      const argument = Buffer.alloc(Math.max(size, headerSize + data.length));
      for (const [index, part] of interfaceVersion.entries()) argument.writeUInt32LE(part, index * 4);
      argument.writeUInt32LE(argument.length, at.dataSize);
      argument.writeUInt32LE(headerSize, at.dataStart);
      argument.writeUInt32LE(targets, at.targetCount);
      argument.writeUInt32LE(flags, at.flags);
      argument.write(device, at.name);
      argument.set(data, headerSize);
      await ioctl(`DM_${name}`, this.#control, request(calls[name]), argument, [device, ...shown]);
      if ((argument.readUInt32LE(at.flags) & DM_BUFFER_FULL_FLAG) === 0) return argument;
    }
  }
}

async function ioctl(
  name: string,
  fd: number,
  number: number,
  argument: Buffer,
  shown: readonly string[],
): Promise<void> {
  await inThread(cIoctl, `ioctl ${name}`, [fd, number, argument], shown);
}

function decodeState(answer: Buffer): DeviceState {
  const flags = answer.readUInt32LE(at.flags);
  const device = Number(answer.readBigUInt64LE(at.device));
  return {
    openCount: answer.readInt32LE(at.openCount),
    suspended: (flags & DM_SUSPEND_FLAG) !== 0,
    active: (flags & DM_ACTIVE_PRESENT_FLAG) !== 0,
    deferredRemove: (flags & DM_DEFERRED_REMOVE) !== 0,
    // huge_encode_dev of linux/kdev_t.h.
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
  };
}

export function encodeTargets(targets: readonly DeviceTarget[]): Buffer {
  const specs = targets.map(({ start, length, type, parameters }) => {
    // The next one is aligned to eight bytes, and counted from this one.
    const spec = Buffer.alloc((targetSize + Buffer.byteLength(parameters) + 1 + 7) & ~7);
    spec.writeBigUInt64LE(BigInt(start), 0);
    spec.writeBigUInt64LE(BigInt(length), 8);
    spec.writeUInt32LE(spec.length, 20);
    spec.write(type, 24);
    spec.write(parameters, targetSize);
    return spec;
  });
  return Buffer.concat(specs);
}

/** The entries of a list, each of which has the distance to the next one at `next`; 0 ends it. */
function* entries(answer: Buffer, start: number, next: number): Generator<Buffer> {
  for (let offset = start; ; ) {
    const entry = answer.subarray(offset);
    yield entry;
    const distance = entry.readUInt32LE(next);
    if (distance === 0) return;
    offset += distance;
  }
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function textAt(bytes: Buffer, start: number): string {
  const end = bytes.indexOf(0, start);
  return bytes.toString("utf8", start, end < 0 ? bytes.length : end);
}

function makeNode(path: string, mode: number, major: number, minor: number): void {
  try {
    mknodat(AT_FDCWD, path, mode, major, minor);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    // udev's, of the same device; or that of another device, which is gone.
    const special = fstatatIfExists(AT_FDCWD, path, true)?.special;
    if (special?.major === major && special.minor === minor) return;
    rmSync(path, { force: true });
    mknodat(AT_FDCWD, path, mode, major, minor);
  }
}

function removeNode(name: string): void {
  rmSync(devicePath(name), { force: true });
}
