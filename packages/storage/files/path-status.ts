/**
 * What a path in a container's root is, as the archive endpoints tell it (X-Docker-Container-Path-Stat).
 */
import type { FileDescriptor } from "#kernel/fd.ts";
import {
  type FileStatus,
  fstat,
  fstatatIfExists,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFSOCK,
} from "#kernel/file-syscalls.ts";
import type { RootDirectory } from "#kernel/root-directory.ts";
import { O_DIRECTORY, O_PATH } from "#kernel/syscalls.ts";
import { followLinks, type InsidePath } from "#storage/files/inside-path.ts";
import type { PathStatus } from "#storage/files/root-types.ts";

/** An open directory, and the name in it that is meant; "." is the directory itself. Both stay what they are. */
export interface FoundPath extends Disposable {
  directory: FileDescriptor;
  name: string;
  status: FileStatus;
}

/** Opens what a path means; undefined if nothing is there. */
export function findPath(root: RootDirectory, { directory, name }: InsidePath): FoundPath | undefined {
  const parent = root.openIfExists(directory, O_PATH | O_DIRECTORY);
  if (parent === undefined) return undefined;
  const own = name === "" ? "." : name;
  const status = own === "." ? fstat(parent.number) : fstatatIfExists(parent.number, own);
  if (status !== undefined) {
    return { directory: parent, name: own, status, [Symbol.dispose]: () => parent.close() };
  }
  parent.close();
  return undefined;
}

export function describePath(root: RootDirectory, path: InsidePath, { status }: FoundPath): PathStatus {
  const isLink = (status.mode & S_IFMT) === S_IFLNK;
  return {
    name: path.label,
    size: status.size,
    mode: goMode(status.mode),
    modifiedAt: status.modifiedAt,
    linkTarget: isLink ? followLinks(root, `${path.directory}/${path.name}`) : "",
  };
}

/** io/fs of Go: type bits from the top of 32, then set-id and sticky bits, then permissions. */
export function goMode(mode: number): number {
  const type: Record<number, number> = {
    [S_IFDIR]: 2 ** 31,
    [S_IFLNK]: 2 ** 27,
    [S_IFBLK]: 2 ** 26,
    [S_IFCHR]: 2 ** 26 + 2 ** 21,
    [S_IFIFO]: 2 ** 25,
    [S_IFSOCK]: 2 ** 24,
  };
  const special =
    (mode & 0o4000 ? 2 ** 23 : 0) + (mode & 0o2000 ? 2 ** 22 : 0) + (mode & 0o1000 ? 2 ** 20 : 0);
  return (type[mode & S_IFMT] ?? 0) + special + (mode & 0o777);
}
