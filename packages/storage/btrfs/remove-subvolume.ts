/**
 * Deletes a layer of the btrfs driver: its subvolume, and those that the container made in it.
 *
 * A subvolume that holds others cannot go. So these are first moved out, next to it, under names that the driver deletes
 * at its next start should this be cut short; that works for any depth. Such walks are for a worker.
 */
import { randomUUID } from "node:crypto";
import { basename, dirname } from "node:path";
import {
  destroySubvolume,
  isSubvolume,
  makeSubvolumeWritable,
  type NestedSubvolume,
  nestedSubvolumes,
  removeQuotaGroup,
  subvolumeId,
} from "#kernel/btrfs.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { renameat2 } from "#kernel/file-syscalls.ts";
import { removeTree } from "#kernel/remove-tree.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "#kernel/syscalls.ts";
import { gonePrefix } from "#storage/layer-names.ts";

const directoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
const stayInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

/** Removes a subvolume without others in it, which blocks nobody; false if it is anything else. */
export async function tryRemoveSubvolume(path: string): Promise<boolean> {
  using home = new FileDescriptor(open(dirname(path), directoryFlags));
  return await removeAlone(home, basename(path));
}

async function removeAlone(home: FileDescriptor, name: string): Promise<boolean> {
  using subvolume = openIfExists(home, name);
  if (subvolume === undefined) return true;
  if (!isSubvolume(subvolume.number)) return false;
  const id = subvolumeId(subvolume.number);
  try {
    await destroySubvolume(home.number, name);
  } catch (error) {
    if (isErrno(error, "ENOTEMPTY")) return false;
    throw error;
  }
  await forgetQuota(home, id);
  return true;
}

/** Removes what is at `path`: a subvolume, a directory, or nothing. Its names of now have no other user. */
export async function removeSubvolume(path: string): Promise<void> {
  using home = new FileDescriptor(open(dirname(path), directoryFlags));
  const waiting = [basename(path)];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    waiting.push(...(await removeOne(home, name)));
  }
}

/** Answers the names in `home` that what was in it got, and its own if it is still there. */
async function removeOne(home: FileDescriptor, name: string): Promise<string[]> {
  if (await removeAlone(home, name)) return [];
  using opened = openIfExists(home, name);
  if (opened === undefined) return [];
  if (isSubvolume(opened.number)) return [name, ...(await moveOut(home, opened, name))];
  removeTree(`${home.procPath}/${name}`);
  return [];
}

async function moveOut(home: FileDescriptor, subvolume: FileDescriptor, name: string): Promise<string[]> {
  makeSubvolumeWritable(subvolume.number);
  let nested: NestedSubvolume[];
  try {
    nested = await nestedSubvolumes(subvolume.number);
  } catch (error) {
    if (!isErrno(error, "ENAMETOOLONG")) throw error;
    // Deeper than the kernel can tell: found on a walk, which removes subvolumes that it has emptied.
    removeTree(`${home.procPath}/${name}`);
    return [];
  }
  return nested.map(({ directory, name: inner }) => {
    using parent = new FileDescriptor(openat2(subvolume.number, directory, directoryFlags, 0, stayInside));
    using child = new FileDescriptor(openat2(parent.number, inner, directoryFlags, 0, stayInside));
    // What is read-only cannot be moved.
    makeSubvolumeWritable(child.number);
    const free = gonePrefix + randomUUID();
    renameat2(parent.number, inner, home.number, free);
    return free;
  });
}

function openIfExists(home: FileDescriptor, name: string): FileDescriptor | undefined {
  try {
    return new FileDescriptor(openat2(home.number, name, directoryFlags, 0, stayInside));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Newer kernels remove a group with its subvolume; a group that is still counted down stays until then. */
async function forgetQuota(home: FileDescriptor, id: bigint): Promise<void> {
  try {
    await removeQuotaGroup(home.number, id);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTCONN", "EBUSY", "EINVAL")) throw error;
  }
}
