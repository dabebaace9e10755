/**
 * Finds out whether overlayfs works on the file system a directory is on, what layers will look like there, and what
 * `docker info` says of it: by trying, since kernels differ in what they do by default.
 *
 * Makes a scratch directory in it and mounts there once; all is taken away again.
 */
import { existsSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmodat, mkdirat, mknodat, renameat2, S_IFCHR, S_IFREG, unlinkat } from "#kernel/file-syscalls.ts";
import { fstatfs, listsTypes } from "#kernel/file-system-status.ts";
import { MNT_DETACH, mount, umount2 } from "#kernel/mount-syscalls.ts";
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
const wantedOptions = ["index", "redirect_dir"];

/** Throws "unavailable", with a hint, where overlay2 cannot work. `home` exists. */
export function probeOverlay(home: string): OverlaySupport {
  using directory = new FileDescriptor(open(home, O_RDONLY | O_DIRECTORY));
  const { name } = fstatfs(directory.number);
  const scratch = `${home}/.probe-${process.pid}`;
  const mountOptions = wantedOptions
    .filter((option) => existsSync(`/sys/module/overlay/parameters/${option}`))
    .map((option) => `${option}=off`);
  removeTree(scratch);
  mkdirat(AT_FDCWD, scratch, 0o700);
  try {
    makeLayers(home, scratch, name);
    const changed = changeInMount(home, scratch, name, mountOptions);
    return { backingFileSystem: name, mountOptions, ...changed };
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

function changeInMount(
  home: string,
  scratch: string,
  name: string,
  options: string[],
): Pick<OverlaySupport, "metacopy" | "nativeDiff"> {
  const data = [
    `lowerdir=${scratch}/lower`,
    `upperdir=${scratch}/upper`,
    `workdir=${scratch}/work`,
    ...options,
  ];
  const merged = `${scratch}/merged`;
  try {
    mount("overlay", merged, "overlay", 0, data.join(","));
  } catch (cause) {
    throw unusable(home, `overlayfs cannot be mounted on file system ${name}`, cause);
  }
  try {
    fchmodat(AT_FDCWD, `${merged}/file`, 0o640);
    unlinkat(AT_FDCWD, `${merged}/hidden`, AT_REMOVEDIR);
    mkdirat(AT_FDCWD, `${merged}/hidden`, 0o700);
    const redirected = movesDirectories(merged);
    const opaque = getXattr(`${scratch}/upper/hidden`, "trusted.overlay.opaque")?.toString() === "y";
    const metacopy = getXattr(`${scratch}/upper/file`, "trusted.overlay.metacopy") !== undefined;
    return { metacopy, nativeDiff: opaque && !redirected && !metacopy };
  } finally {
    umount2(merged, MNT_DETACH);
  }
}

/** Would the kernel note where a directory of a lower layer came from? Otherwise it refuses to move it. */
function movesDirectories(merged: string): boolean {
  try {
    renameat2(AT_FDCWD, `${merged}/moved`, AT_FDCWD, `${merged}/elsewhere`);
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
