/**
 * How many bytes a layer that holds everything adds to the one below: what `docker ps --size` shows.
 */
import { S_IFLNK, S_IFMT, S_IFREG } from "#kernel/file-syscalls.ts";
import { layerChanges } from "#storage/changes/layer-changes.ts";
import type { LayerComparison } from "#storage/driver-types.ts";

/** Lengths of the files and links that are new or changed, one with several names once. Blocking: for worker threads. */
export function changesSize(comparison: LayerComparison): number {
  const counted = new Set<string>();
  let sum = 0;
  for (const { status } of layerChanges(comparison)) {
    if (status === undefined) continue;
    const type = status.mode & S_IFMT;
    if (type !== S_IFREG && type !== S_IFLNK) continue;
    if (status.links > 1) {
      // A tree may have other subvolumes in it, which number their inodes anew.
      const inode = `${status.device.major}:${status.device.minor}:${status.inode}`;
      if (counted.has(inode)) continue;
      counted.add(inode);
    }
    sum += status.size;
  }
  return sum;
}
