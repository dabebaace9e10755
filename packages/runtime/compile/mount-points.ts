/**
 * Where mounts go: every destination is opened by descriptor below the root, or below our own /dev, /proc and /sys once
 * they are there. No path is ever joined to the root's own, and nothing that lies below /proc is covered but by name. Pure.
 */
import type { Register } from "#program/types.ts";
import { INSIDE, openDirectory } from "#runtime/compile/inside-root.ts";
import { RESOLVE } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";

/** In a procfs of ours nothing may lead away from it. */
const INSIDE_PROC = RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_XDEV;

/** Descriptors of what was mounted, for the steps that follow. */
export interface Mounted {
  root: Register;
  /** In a user namespace: no device can be made, some file systems not mounted, some attributes not taken away. */
  limited: boolean;
  /** Our own procfs, attached at /proc. */
  proc?: Register;
  sys?: Register;
  /** Our own tmpfs, attached at /dev. */
  dev?: Register;
  pts?: Register;
  /** The user put a /dev of his own there: leave it alone. */
  foreignDev: boolean;
  /** Closes to writing, at the end of all mounting, what things had to be made in first. */
  closing: (() => void)[];
}

/** The descriptor a destination is looked up from, the path below it, and the rules for the lookup. */
export function lookup(
  mounted: Mounted,
  destination: string,
): { from: Register; path: string; resolve: number } {
  const below = (directory: string) => destination.slice(directory.length + 1);
  if (mounted.dev !== undefined && destination.startsWith("/dev/")) {
    return { from: mounted.dev, path: below("/dev"), resolve: INSIDE };
  }
  if (mounted.proc !== undefined && destination.startsWith("/proc/")) {
    return { from: mounted.proc, path: below("/proc"), resolve: INSIDE_PROC };
  }
  if (mounted.sys !== undefined && destination.startsWith("/sys/")) {
    return { from: mounted.sys, path: below("/sys"), resolve: INSIDE };
  }
  return { from: mounted.root, path: destination.slice(1), resolve: INSIDE };
}

/** Opens a directory to mount on, making it if it is missing. */
export function openMountPoint(
  w: ProgramWriter,
  mounted: Mounted,
  { destination, type }: { destination: string; type: string },
  use: (target: Register) => void,
): void {
  const { from, path, resolve } = lookup(mounted, destination);
  // An image whose /proc or /sys is a link would have its way with every path below: refuse to start.
  const strict = type === "proc" || type === "sysfs" ? RESOLVE.NO_SYMLINKS : 0;
  w.borrow((target) => {
    openDirectory(w, from, path, target, `open mount point ${destination}`, resolve | strict);
    use(target);
    w.close(target);
  });
}
