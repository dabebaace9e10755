/**
 * Where on the disk layers go.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { FS_TOPDIR_FL, getInodeFlags, setInodeFlags } from "#kernel/inode-flags.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";

/**
 * Tells ext4 to place each layer in a block group of its own, as it does with users' home directories. Otherwise new
 * containers share a group with what was just removed, whose inodes ext4 will not use again for minutes but looks at one by
 * one: creating a container then takes 30 ms instead of 1.5. Other file systems have no such flag and need none.
 */
export function spreadLayers(home: string): void {
  using directory = new FileDescriptor(open(home, O_RDONLY | O_DIRECTORY));
  const flags = getInodeFlags(directory.number);
  if (flags !== undefined && (flags & FS_TOPDIR_FL) === 0)
    setInodeFlags(directory.number, flags | FS_TOPDIR_FL);
}
