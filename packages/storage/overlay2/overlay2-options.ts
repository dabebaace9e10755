/**
 * What `--storage-opt` may say to overlay2: to the daemon, and for one container.
 */
import type { BerthError } from "#errors/errors.ts";
import {
  cannotLimit,
  cannotStart,
  checkBoolean,
  checkSize,
  parseDriverOption,
  sizeOption,
} from "#storage/driver-options.ts";
import type { SizeOptions } from "#storage/driver-types.ts";
import { missingQuota, ProjectLimits } from "#storage/quota/project-limits.ts";

/** Sizes of containers, where the file system keeps limits. */
export class ContainerSizes {
  readonly #home: string;
  readonly limits: ProjectLimits | undefined;
  /** Bytes, for containers that have no other. */
  readonly #default: number | undefined;

  private constructor(home: string, limits: ProjectLimits | undefined, defaultSize: number | undefined) {
    this.#home = home;
    this.limits = limits;
    this.#default = defaultSize;
  }

  /**
   * Throws "invalid" with Docker's text for an option of the daemon's that is unknown, malformed or cannot be kept in
   * `home`.
   */
  static from(options: readonly string[], home: string, backingFileSystem: string): ContainerSizes {
    const limits = ProjectLimits.in(home);
    let size: number | undefined;
    for (const text of options) {
      const { key, value } = parseDriverOption("overlay2", text);
      switch (key) {
        case "overlay2.override_kernel_check":
          // Said to old kernels only; every one that Berth runs on is new enough.
          checkBoolean("overlay2", value);
          break;
        case "overlay2.size":
          size = checkSize("overlay2", value) || undefined;
          if (limits === undefined) throw noQuota(backingFileSystem, home);
          break;
        default:
          throw cannotStart("overlay2", `overlay2: unknown option ${key}`);
      }
    }
    return new ContainerSizes(home, limits, size);
  }

  /** See `StorageDriver.sizeLimit`. */
  of(options: SizeOptions): number | undefined {
    const size = sizeOption("overlay2", options);
    if (size === undefined) return this.#default;
    if (this.limits === undefined) {
      // Docker's sentence first, which tools know.
      const docker = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
      throw cannotLimit("overlay2", `${docker} (or ext4 with 'prjquota'): ${missingQuota(this.#home)}`);
    }
    return size === 0 ? this.#default : size;
  }
}

function noQuota(backingFileSystem: string, home: string): BerthError {
  const docker =
    backingFileSystem === "xfs" || backingFileSystem === "extfs"
      ? "Storage option overlay2.size not supported. Filesystem does not support Project Quota"
      : `Storage Option overlay2.size only supported for backingFS XFS. Found ${backingFileSystem}`;
  return cannotStart("overlay2", `${docker}: ${missingQuota(home)}`);
}
