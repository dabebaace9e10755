/**
 * Opens a branch by a mount of its own that nobody else sees: no other mount is on the way inside, the union itself least
 * of all, and a branch that is only read cannot be written, not even its access times.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstat, S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import {
  encodeMountAttributes,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_RDONLY,
  mountSetattr,
  OPEN_TREE_CLONE,
  openTree,
} from "#kernel/mount-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { AT_EMPTY_PATH, AT_FDCWD } from "#kernel/syscalls.ts";
import type { UnionBranch } from "#storage/union/union-types.ts";

/** The branch's directory, as O_PATH. Throws SyscallError where there is none. */
export function openBranch({ path, writable }: UnionBranch): FileDescriptor {
  const mount = new FileDescriptor(openTree(AT_FDCWD, path, OPEN_TREE_CLONE));
  try {
    if (!writable) {
      const set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME;
      const attributes = encodeMountAttributes(set, MOUNT_ATTR__ATIME, 0, 0);
      mountSetattr(mount.number, "", AT_EMPTY_PATH, attributes);
    }
    if ((fstat(mount.number).mode & S_IFMT) !== S_IFDIR) {
      throw new SyscallError("open_tree", ERRNO.ENOTDIR, [path]);
    }
    return mount;
  } catch (error) {
    mount.close();
    throw error;
  }
}
