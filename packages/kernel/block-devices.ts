/**
 * Files as block devices (loop(4)), and what is asked of block devices by ioctls (linux/fs.h, linux/loop.h).
 *
 * A loop device that is made here goes by itself when the last one closes it.
 */
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { fstatat } from "#kernel/file-syscalls.ts";
import { inThread, lastErrno, libcFunction } from "#kernel/libc.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";

const LOOP_SET_FD = 0x4c00;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_CTL_GET_FREE = 0x4c82;
const BLKGETSIZE64 = 0x80081272;
const BLKDISCARD = 0x1277;

/** struct loop_info64: its size, and where the flags and the name of the file are. */
const loopInfo = { size: 232, flags: 52, name: 56, nameSize: 64 };
const LO_FLAGS_AUTOCLEAR = 4;
/** Devices that somebody else took first, at most. */
const attempts = 50;

const cIoctl = libcFunction("int ioctl(int fd, unsigned long request, unsigned long argument)");
const cIoctlBuffer = libcFunction("int ioctl(int fd, unsigned long request, void *argument)");

/** An attached loop device, open: closing it is what lets it go where nobody else opened it meanwhile. */
export class LoopDevice implements Disposable {
  readonly #fd: number;
  /** "/dev/loop7". */
  readonly path: string;

  private constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
  }

  /** Attaches a file, for reading and writing. */
  static attach(file: string): LoopDevice {
    const control = openSync("/dev/loop-control", "r+");
    const backing = openSync(file, "r+");
    try {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const number = cIoctl(control, LOOP_CTL_GET_FREE, 0);
        if (number < 0) throw new SyscallError("ioctl LOOP_CTL_GET_FREE", lastErrno(), []);
        const path = `/dev/loop${number}`;
        const fd = openSync(path, "r+");
        if (cIoctl(fd, LOOP_SET_FD, backing) >= 0) return LoopDevice.#made(fd, path, file);
        const errno = lastErrno();
        closeSync(fd);
        const error = new SyscallError("ioctl LOOP_SET_FD", errno, [path, file]);
        if (!isErrno(error, "EBUSY")) throw error;
      }
      throw new Error(`no loop device is free for ${file}`);
    } finally {
      closeSync(backing);
      closeSync(control);
    }
  }

  static #made(fd: number, path: string, file: string): LoopDevice {
    const info = Buffer.alloc(loopInfo.size);
    info.writeUInt32LE(LO_FLAGS_AUTOCLEAR, loopInfo.flags);
    info.set(Buffer.from(file).subarray(0, loopInfo.nameSize - 1), loopInfo.name);
    if (cIoctlBuffer(fd, LOOP_SET_STATUS64, info) < 0) {
      const error = new SyscallError("ioctl LOOP_SET_STATUS64", lastErrno(), [path]);
      cIoctl(fd, LOOP_CLR_FD, 0);
      closeSync(fd);
      throw error;
    }
    return new LoopDevice(fd, path);
  }

  /** Paths of the loop devices that stand for a file. */
  static of(file: string): string[] {
    return readdirSync("/sys/block")
      .filter((name) => name.startsWith("loop") && backingFile(name) === file)
      .map((name) => `/dev/${name}`);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function backingFile(name: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").trimEnd();
  } catch {
    return undefined; // It stands for none.
  }
}

/** "7:3", as tables of the device mapper name a device. */
export function deviceNumber(path: string): string {
  const { major, minor } = fstatat(AT_FDCWD, path, true).special;
  return `${major}:${minor}`;
}

/** Bytes of a block device. */
export function blockDeviceSize(path: string): number {
  const fd = openSync(path, "r");
  try {
    const size = Buffer.alloc(8);
    if (cIoctlBuffer(fd, BLKGETSIZE64, size) < 0)
      throw new SyscallError("ioctl BLKGETSIZE64", lastErrno(), [path]);
    return Number(size.readBigUInt64LE());
  } finally {
    closeSync(fd);
  }
}

/** Tells a block device that the first `length` bytes of it are not needed. EOPNOTSUPP where it does not care. */
export async function discard(path: string, length: number): Promise<void> {
  const file = await openFile(path, "r+");
  try {
    const range = Buffer.alloc(16);
    range.writeBigUInt64LE(BigInt(length), 8);
    await inThread(cIoctlBuffer, "ioctl BLKDISCARD", [file.fd, BLKDISCARD, range], [path]);
  } finally {
    await file.close();
  }
}
