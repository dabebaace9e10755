/**
 * Finds out whether overlayfs works on the file system a directory is on, what layers will look like there, and what
 * `docker info` says of it: by trying, since kernels differ in what they do by default.
 *
 * Makes a scratch directory in it, and one mount that has no place among the machine's: whoever kills us leaves no more
 * than a directory.
 */
import { existsSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmodat, mkdirat, mknodat, renameat2, S_IFCHR, S_IFREG, unlinkat } from "#kernel/file-syscalls.ts";
import { listsTypes, statfs } from "#kernel/file-system-status.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen } from "#kernel/mount-syscalls.ts";
import { removeTree } from "#kernel/remove-tree.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { AT_FDCWD, AT_REMOVEDIR, O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import { getXattr, setXattr } from "#kernel/xattr-syscalls.ts";

export interface OverlaySupport {
  /** "extfs", "xfs" … */
  backingFileSystem: string;
  /** Options every mount gets. */
  mountOptions: string[];
  /** A changed mode copies the attributes of a file without its content. */
  metacopy: boolean;
  /** What is changed in a mount can be read from its upper directory alone. */
  nativeDiff: boolean;
}

/**
 * Options that keep layers plain: what they switch off would write marks that only the same mount understands. Without
 * redirect_dir the kernel has no metacopy either.
 */
const plainOptions = ["index", "redirect_dir"];

/** Throws "unavailable", with a hint, where overlay2 cannot work. `home` exists. */
export function probeOverlay(home: string): OverlaySupport {
  const { name } = statfs(home);
  const scratch = `${home}/.probe-${process.pid}`;
  const options = plainOptions.filter((option) => existsSync(`/sys/module/overlay/parameters/${option}`));
  removeTree(scratch);
  mkdirat(AT_FDCWD, scratch, 0o700);
  try {
    makeLayers(home, scratch, name);
    const changed = changeInMount(home, scratch, name, options);
    return { backingFileSystem: name, mountOptions: options.map((option) => `${option}=off`), ...changed };
  } finally {
    removeTree(scratch);
  }
}

/** A layer with something to change, and beside it the marks that unpacking writes. */
function makeLayers(home: string, scratch: string, name: string): void {
  for (const part of ["lower", "upper", "work", "merged", "lower/moved", "lower/hidden", "marked"]) {
    mkdirat(AT_FDCWD, `${scratch}/${part}`, 0o700);
  }
  mknodat(AT_FDCWD, `${scratch}/lower/file`, S_IFREG | 0o600);
  using scratchDirectory = new FileDescriptor(open(scratch, O_RDONLY | O_DIRECTORY));
  if (!listsTypes(scratchDirectory.number)) {
    throw unusable(home, `file system ${name} does not tell entry types (d_type)`, undefined);
  }
  try {
    mknodat(AT_FDCWD, `${scratch}/marked/whiteout`, S_IFCHR, 0, 0);
    setXattr(`${scratch}/marked`, "trusted.overlay.opaque", Buffer.from("y"));
  } catch (cause) {
    throw unusable(home, `overlayfs's marks cannot be kept on file system ${name}`, cause);
  }
}

/** `options` are switched off. */
function changeInMount(
  home: string,
  scratch: string,
  name: string,
  options: readonly string[],
): Pick<OverlaySupport, "metacopy" | "nativeDiff"> {
  using merged = mountDetached(home, scratch, name, options);
  fchmodat(merged.number, "file", 0o640);
  unlinkat(merged.number, "hidden", AT_REMOVEDIR);
  mkdirat(merged.number, "hidden", 0o700);
  const redirected = movesDirectories(merged.number);
  const opaque = getXattr(`${scratch}/upper/hidden`, "trusted.overlay.opaque")?.toString() === "y";
  const metacopy = getXattr(`${scratch}/upper/file`, "trusted.overlay.metacopy") !== undefined;
  return { metacopy, nativeDiff: opaque && !redirected && !metacopy };
}

/** The root of a mount of the scratch layers that is gone with its descriptor. */
function mountDetached(
  home: string,
  scratch: string,
  name: string,
  options: readonly string[],
): FileDescriptor {
  using layers = new FileDescriptor(open(scratch, O_RDONLY | O_DIRECTORY));
  try {
    using context = new FileDescriptor(fsopen("overlay"));
    // By way of the descriptor: a parameter holds 255 bytes, and no ":" or "," that is not its own.
    const path = (part: string) => `/proc/self/fd/${layers.number}/${part}`;
    fsconfigSet(context.number, "lowerdir", path("lower"));
    fsconfigSet(context.number, "upperdir", path("upper"));
    fsconfigSet(context.number, "workdir", path("work"));
    for (const option of options) fsconfigSet(context.number, option, "off");
    fsconfigCreate(context.number);
    return new FileDescriptor(fsmount(context.number));
  } catch (cause) {
    throw unusable(home, `overlayfs cannot be mounted on file system ${name}`, cause);
  }
}

/** Would the kernel note where a directory of a lower layer came from? Otherwise it refuses to move it. */
function movesDirectories(merged: number): boolean {
  try {
    renameat2(merged, "moved", merged, "elsewhere");
    return true;
  } catch (error) {
    if (isErrno(error, "EXDEV")) return false;
    throw error;
  }
}

function unusable(home: string, reason: string, cause: unknown): BerthError {
  return new BerthError("unavailable", `storage driver overlay2 cannot be used in ${home}: ${reason}`, {
    operation: "start storage driver",
    object: "overlay2",
    hint: "Put the data root on ext4 or on xfs made with ftype=1, or choose another storage driver: --storage-driver vfs",
    ...(cause === undefined ? {} : { cause }),
  });
}
