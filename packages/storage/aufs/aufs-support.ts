/**
 * What serves the unions on this host: the kernel's AUFS where it has one that works here, else our own program by FUSE.
 *
 * Found out by trying: a scratch directory is made and taken away again. Nothing is started.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstat } from "#kernel/file-syscalls.ts";
import { statfs } from "#kernel/file-system-status.ts";
import { MNT_DETACH, mount, UMOUNT_NOFOLLOW, umount2 } from "#kernel/mount-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { O_RDWR, open } from "#kernel/syscalls.ts";
import { aufsMountData, KernelAufs } from "#storage/aufs/kernel-aufs.ts";
import { nearestDriver } from "#storage/nearest-driver.ts";
import type { Unions } from "#storage/union/union-types.ts";

/** Of /dev/fuse; admin-guide/devices.txt of the kernel. */
const fuseDevice = { major: 10, minor: 229 };

export interface AufsSupport {
  /** "extfs", "xfs" … */
  backingFileSystem: string;
  /** Rights of a directory are the upper one's alone, as `docker info` says. */
  dirperm1: boolean;
  /** The kernel's AUFS; undefined where the program is needed. */
  kernel: Unions | undefined;
}

/** Throws "unavailable", with a hint, where neither works. `home` exists. */
export function probeAufs(home: string, logger: Logger): AufsSupport {
  const { name: backingFileSystem } = statfs(home);
  if (kernelKnows("aufs")) {
    try {
      const dirperm1 = mounts(home, true);
      if (dirperm1 || mounts(home, false)) {
        return { backingFileSystem, dirperm1, kernel: new KernelAufs(dirperm1) };
      }
    } catch (error) {
      logger.warn("the kernel's AUFS does not work here", { home, error });
    }
  }
  try {
    using fuse = new FileDescriptor(open("/dev/fuse", O_RDWR));
    const { major, minor } = fstat(fuse.number).special;
    if (major !== fuseDevice.major || minor !== fuseDevice.minor)
      throw new Error("/dev/fuse is something else");
  } catch (cause) {
    throw unusable(home, cause);
  }
  return { backingFileSystem, dirperm1: true, kernel: undefined };
}

function kernelKnows(type: string): boolean {
  return readFileSync("/proc/filesystems", "utf8")
    .split("\n")
    .some((line) => line.split("\t").at(-1) === type);
}

/** False where the kernel refuses the option. */
function mounts(home: string, dirperm1: boolean): boolean {
  // One name: what a daemon that was killed in the midst of this left mounted is found again.
  const scratch = join(home, ".probe");
  detachProbe(join(scratch, "merged"));
  rmSync(scratch, { recursive: true, force: true });
  const paths = ["upper", "lower", "merged"].map((name) => join(scratch, name));
  for (const path of paths) mkdirSync(path, { recursive: true, mode: 0o700 });
  const [upper = "", lower = "", merged = ""] = paths;
  try {
    const branches = [
      { path: upper, writable: true },
      { path: lower, writable: false },
    ];
    const [data = ""] = aufsMountData(branches, { dirperm1 });
    mount("none", merged, "aufs", 0, data);
    umount2(merged, MNT_DETACH);
    return true;
  } catch (error) {
    if (dirperm1) return false;
    throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function detachProbe(mountPoint: string): void {
  try {
    umount2(mountPoint, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (error) {
    // It is not there, or not mounted.
    if (!isErrno(error, "ENOENT", "EINVAL")) throw error;
  }
}

function unusable(home: string, cause: unknown): BerthError {
  return new BerthError(
    "unavailable",
    `storage driver aufs cannot be used in ${home}: the kernel has no AUFS, and no FUSE to serve unions by (/dev/fuse)`,
    {
      operation: "start storage driver",
      object: "aufs",
      hint: `Load the kernel module fuse (modprobe fuse), or use the nearest: --storage-driver ${nearestDriver(home)}`,
      cause,
    },
  );
}
