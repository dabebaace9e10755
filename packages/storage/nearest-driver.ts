/** Which driver to name to somebody whose own choice does not work: told by the file system alone, nothing is tried. */
import { statfs } from "#kernel/file-system-status.ts";

/** File systems that cannot hold an overlayfs's upper layer: no white-outs, or overlayfs's own marks mean something there. */
const withoutOverlay = new Set(["overlayfs", "aufs", "ecryptfs", "nfs", "smb", "fuse"]);

/** "btrfs", "overlay2" or "vfs", for a data root that exists. */
export function nearestDriver(dataRoot: string): string {
  const { name } = statfs(dataRoot);
  if (name === "btrfs") return "btrfs";
  return withoutOverlay.has(name) ? "vfs" : "overlay2";
}
