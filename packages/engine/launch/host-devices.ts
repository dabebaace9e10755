/** Device files of the host that are given to containers. */
import { statSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";

export interface HostDevice {
  type: "c" | "b";
  major: number;
  minor: number;
  mode: number;
  uid: number;
  gid: number;
}

/** Throws "invalid" with Docker's text if the path is no device. */
export function readDevice(path: string): HostDevice {
  const refuse = (why: string, cause?: unknown) =>
    new BerthError(
      "invalid",
      `error gathering device information while adding custom device "${path}": ${why}`,
      {
        operation: "start container",
        object: path,
        cause,
      },
    );
  try {
    const status = statSync(path);
    if (!status.isCharacterDevice() && !status.isBlockDevice()) throw refuse("not a device node");
    return {
      type: status.isBlockDevice() ? "b" : "c",
      major: majorOf(BigInt(status.rdev)),
      minor: minorOf(BigInt(status.rdev)),
      mode: status.mode & 0o777,
      uid: status.uid,
      gid: status.gid,
    };
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    throw refuse("no such file or directory", cause);
  }
}

/** Numbers of a device whose rate or weight is set. Throws "invalid" with Docker's text. */
export function readDeviceNumbers(path: string): { major: number; minor: number } {
  try {
    const device = BigInt(statSync(path).rdev);
    return { major: majorOf(device), minor: minorOf(device) };
  } catch (cause) {
    throw new BerthError("invalid", `stat ${path}: no such file or directory`, {
      operation: "start container",
      object: path,
      cause,
    });
  }
}

/** glibc's encoding of dev_t (sys/sysmacros.h). */
function majorOf(device: bigint): number {
  return Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n));
}

function minorOf(device: bigint): number {
  return Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n));
}
