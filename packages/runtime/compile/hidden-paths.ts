/**
 * Masked and read-only paths. What does not exist is passed over. What masks is never taken from the container: the null
 * device is the host's, the empty directory a tmpfs of ours.
 */
import { posix } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { Register } from "#program/types.ts";
import { INSIDE } from "#runtime/compile/inside-root.ts";
import { ERRNO, RESOLVE } from "#runtime/compile/kernel-constants.ts";
import type { Mounted } from "#runtime/compile/mount-points.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { MOUNT_ATTR, PROPAGATION } from "#runtime/mount-options.ts";

const { RDONLY, NOSUID, NODEV, NOEXEC } = MOUNT_ATTR;

/**
 * What the kernel's own file systems have under these names, so that nobody needs to look. (Were it otherwise, the
 * kernel would refuse the mount and the container would not start.)
 */
const KNOWN: Readonly<Record<string, "file" | "directory">> = {
  "/proc/acpi": "directory",
  "/proc/asound": "directory",
  "/proc/interrupts": "file",
  "/proc/kcore": "file",
  "/proc/keys": "file",
  "/proc/latency_stats": "file",
  "/proc/sched_debug": "file",
  "/proc/scsi": "directory",
  "/proc/timer_list": "file",
  "/proc/timer_stats": "file",
  "/sys/devices/virtual/powercap": "directory",
  "/sys/firmware": "directory",
};

/** Cleaned paths of a field. Throws "invalid" with its name. */
export function planPaths(given: readonly string[] | null | undefined, field: string): string[] {
  const paths = given ?? [];
  const refuse = (message: string) => new BerthError("invalid", message, { operation: "compile container" });
  if (!Array.isArray(paths)) throw refuse(`${field}: must be a list`);
  return paths.map((path: string, index) => {
    const which = `${field}[${index}]`;
    if (typeof path !== "string" || !path.startsWith("/") || path.includes("\0")) {
      throw refuse(`${which}: ${JSON.stringify(path)} is not an absolute path`);
    }
    const cleaned = posix.normalize(path).replace(/(?<=.)\/$/, "");
    if (cleaned === "/") throw refuse(`${which}: the root itself cannot be covered`);
    return cleaned;
  });
}

/**
 * Hides each path. `workplace` is a directory of the host, not seen by anybody else any more once the root has changed:
 * the empty tmpfs is parked there in this mount namespace, since only an attached mount can be copied.
 */
export function maskPaths(
  w: ProgramWriter,
  paths: readonly string[],
  mounted: Mounted,
  workplace: string,
): void {
  if (paths.length === 0) return;
  const { O } = w;
  if (mounted.limited) {
    // No place of the host is within reach for sure: each gets its own.
    for (const path of paths) {
      eachExisting(w, path, mounted, `mask ${path}`, (target) => hide(w, path, target, undefined, mounted));
    }
    return;
  }
  w.borrow((empty) => {
    const why = "make the empty directory that masks";
    makeEmpty(w, empty, why);
    w.borrow((place) => {
      w.open(workplace, O.PATH | O.DIRECTORY, place, why);
      w.attach(empty, place, why);
      w.close(place);
    });
    for (const path of paths) {
      eachExisting(w, path, mounted, `mask ${path}`, (target) => hide(w, path, target, empty, mounted));
    }
    w.close(empty);
  });
}

function makeEmpty(w: ProgramWriter, into: Register, why: string): void {
  const attributes = RDONLY | NOSUID | NODEV | NOEXEC;
  const parameters = ["nr_inodes=2", "size=4k"];
  w.newMount({ type: "tmpfs", source: "tmpfs", parameters, attributes }, into, why);
}

function hide(
  w: ProgramWriter,
  path: string,
  target: Register,
  empty: Register | undefined,
  mounted: Mounted,
): void {
  const { b, O } = w;
  const why = `mask ${path}`;
  const takeEmpty = (into: Register) => {
    if (empty === undefined) makeEmpty(w, into, why);
    else w.cloneTree(empty, false, into, why);
  };
  const own = path.startsWith("/proc/") ? mounted.proc : mounted.sys;
  const known = own !== undefined && Object.hasOwn(KNOWN, path) ? KNOWN[path] : undefined;
  w.borrow((tree) => {
    const takeNull = () => {
      w.cloneTree("/dev/null", false, tree, `${why}: take the null device`);
      const change = { set: NOSUID | NOEXEC, propagation: PROPAGATION.private };
      w.setMountAttributes(tree, change, false, `${why}: null device`);
    };
    if (known === "directory") takeEmpty(tree);
    else if (known === "file") takeNull();
    else {
      const isFile = b.label(`${path} is a file`);
      const go = b.label(`hide ${path}`);
      w.borrow((probe) => {
        const flags = O.PATH | O.DIRECTORY;
        w.openUnder(target, ".", {
          flags,
          resolve: 0,
          into: probe,
          ignore: ERRNO.ENOTDIR,
          why: `look at ${path}`,
        });
        b.jumpIfNegative(probe, isFile);
        w.close(probe);
      });
      takeEmpty(tree);
      b.jump(go);
      b.place(isFile);
      takeNull();
      b.place(go);
    }
    w.attach(tree, target, why);
    w.close(tree);
  });
}

/** Makes each path, with everything mounted below it, read-only. */
export function protectPaths(w: ProgramWriter, paths: readonly string[], mounted: Mounted): void {
  for (const path of paths) {
    const why = `make ${path} read-only`;
    eachExisting(w, path, mounted, why, (target) => {
      w.borrow((tree) => {
        w.cloneTree(target, true, tree, why);
        w.setMountAttributes(tree, { set: RDONLY }, true, why);
        w.attach(tree, target, why);
        w.close(tree);
      });
    });
  }
}

function eachExisting(
  w: ProgramWriter,
  path: string,
  mounted: Mounted,
  why: string,
  use: (target: Register) => void,
): void {
  const { b } = w;
  const { from, below, resolve } = startOf(path, mounted);
  const missing = b.label(`${path} is not there`);
  w.borrow((target) => {
    w.openUnder(from, below, { flags: w.O.PATH, resolve, into: target, ignore: ERRNO.ENOENT, why });
    b.jumpIfNegative(target, missing);
    use(target);
    w.close(target);
    b.place(missing);
  });
}

/** In our own procfs and sysfs, from there: links in them are the kernel's, and lead nowhere else. */
function startOf(path: string, mounted: Mounted): { from: Register; below: string; resolve: number } {
  if (mounted.proc !== undefined && path.startsWith("/proc/")) {
    const resolve = RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS;
    return { from: mounted.proc, below: path.slice("/proc/".length), resolve };
  }
  if (mounted.sys !== undefined && path.startsWith("/sys/")) {
    return { from: mounted.sys, below: path.slice("/sys/".length), resolve: INSIDE };
  }
  return { from: mounted.root, below: path.slice(1), resolve: INSIDE };
}
