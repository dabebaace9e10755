/**
 * Finds out whether overlayfs works on the file system a directory is on, and what `docker info` says of it.
 *
 * Makes a scratch directory in it and mounts there once; all is taken away again.
 */
import { existsSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { mkdirat } from "#kernel/file-syscalls.ts";
import { fstatfs, listsTypes } from "#kernel/file-system-status.ts";
import { MNT_DETACH, mount, umount2 } from "#kernel/mount-syscalls.ts";
import { removeTree } from "#kernel/remove-tree.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";

export interface OverlaySupport {
  /** "extfs", "xfs" … */
  backingFileSystem: string;
  /** Options every mount gets. */
  mountOptions: string[];
}

/** Options that keep layers plain: what they switch off would write marks that only the same mount understands. */
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
    for (const part of ["lower", "upper", "work", "merged"]) mkdirat(AT_FDCWD, `${scratch}/${part}`, 0o700);
    using scratchDirectory = new FileDescriptor(open(scratch, O_RDONLY | O_DIRECTORY));
    if (!listsTypes(scratchDirectory.number)) {
      throw unusable(home, `file system ${name} does not tell entry types (d_type)`, undefined);
    }
    tryMount(home, scratch, name, mountOptions);
  } finally {
    removeTree(scratch);
  }
  return { backingFileSystem: name, mountOptions };
}

function tryMount(home: string, scratch: string, name: string, options: string[]): void {
  const data = [
    `lowerdir=${scratch}/lower`,
    `upperdir=${scratch}/upper`,
    `workdir=${scratch}/work`,
    ...options,
  ];
  try {
    mount("overlay", `${scratch}/merged`, "overlay", 0, data.join(","));
  } catch (cause) {
    throw unusable(home, `overlayfs cannot be mounted on file system ${name}`, cause);
  }
  umount2(`${scratch}/merged`, MNT_DETACH);
}

function unusable(home: string, reason: string, cause: unknown): BerthError {
  return new BerthError("unavailable", `storage driver overlay2 cannot be used in ${home}: ${reason}`, {
    operation: "start storage driver",
    object: "overlay2",
    hint: "Put the data root on ext4 or on xfs made with ftype=1, or choose another storage driver.",
    ...(cause === undefined ? {} : { cause }),
  });
}
