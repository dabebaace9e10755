/** Mode and owner of the directory that a layer is: in a mount it is the uppermost layer's that show. */
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmod, fchown, fstat } from "#kernel/file-syscalls.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import type { Owner } from "#storage/driver-types.ts";

/** Mode and owner of one directory for another. */
export function copyLooks(from: string, to: string): void {
  using source = openDirectory(from);
  using target = openDirectory(to);
  const { uid, gid, mode } = fstat(source.number);
  fchown(target.number, uid, gid);
  fchmod(target.number, mode & 0o7777);
}

/**
 * A new directory of a layer, made by root, looks like the one below; the lowest is its owner's, 0755. Then it is filled, by
 * its descriptor.
 */
export function dressLayer(
  path: string,
  below: string | undefined,
  owner: Owner,
  fill?: (directory: number) => void,
): void {
  using directory = openDirectory(path);
  let { uid, gid, mode } = { ...owner, mode: 0o755 };
  if (below !== undefined) {
    using source = openDirectory(below);
    ({ uid, gid, mode } = fstat(source.number));
  }
  if (uid !== 0 || gid !== 0) fchown(directory.number, uid, gid);
  fchmod(directory.number, mode & 0o7777);
  fill?.(directory.number);
}

function openDirectory(path: string): FileDescriptor {
  return new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
}
