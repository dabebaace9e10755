/**
 * What `--storage-opt` may say to overlay2.
 */
import { cannotStart, checkBoolean, checkSize, parseDriverOption } from "#storage/driver-options.ts";

/** Throws "invalid" with Docker's text for an option that is unknown, malformed or cannot be kept. */
export function checkOverlay2Options(options: readonly string[], backingFileSystem: string): void {
  for (const text of options) {
    const { key, value } = parseDriverOption("overlay2", text);
    switch (key) {
      case "overlay2.override_kernel_check":
        // Said to old kernels only; every one that Berth runs on is new enough.
        checkBoolean("overlay2", value);
        break;
      case "overlay2.size":
        checkSize("overlay2", value);
        refuseQuota(backingFileSystem);
        break;
      default:
        throw cannotStart("overlay2", `overlay2: unknown option ${key}`);
    }
  }
}

function refuseQuota(backingFileSystem: string): never {
  if (backingFileSystem !== "xfs") {
    throw cannotStart(
      "overlay2",
      `Storage Option overlay2.size only supported for backingFS XFS. Found ${backingFileSystem}`,
    );
  }
  throw cannotStart(
    "overlay2",
    "Storage option overlay2.size not supported. Filesystem does not support Project Quota",
  );
}
