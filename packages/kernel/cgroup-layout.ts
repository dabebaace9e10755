/**
 * Which control group hierarchies the host has and where.
 *
 * Version 1 as soon as any controller is bound to a version 1 hierarchy (the "hybrid" layout included, where a version 2
 * hierarchy without controllers is mounted beside), else version 2.
 */
import { readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { type MountInfo, parseMountInfo } from "#kernel/mountinfo.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Super options of a cgroup mount that name no controller. */
const notControllers = new Set([
  "rw",
  "ro",
  "xattr",
  "noprefix",
  "clone_children",
  "cpuset_v2_mode",
  "none",
  "favordynmods",
]);

/**
 * The layout told by the text of /proc/self/mountinfo. `readV2Controllers` gives the content of cgroup.controllers in
 * the version 2 mount point; it is a parameter so that the rest is pure. Throws "unavailable" if nothing is mounted.
 */
export function detectCgroupLayout(
  mountinfo: string,
  readV2Controllers: (mountPoint: string) => string = readControllersFile,
): CgroupLayout {
  const mounts = parseMountInfo(mountinfo);
  const v1: Record<string, string> = {};
  for (const mount of mounts) {
    if (mount.fsType !== "cgroup") continue;
    for (const controller of controllersOf(mount)) {
      // The same hierarchy may be mounted again elsewhere (inside a chroot); the first is the one people look at.
      v1[controller] ??= mount.mountPoint;
    }
  }
  const unified = mounts.find((mount) => mount.fsType === "cgroup2");
  const hasV1 = Object.keys(v1).some((controller) => !controller.startsWith("name="));
  if (!hasV1 && unified === undefined) {
    throw new BerthError("unavailable", "no control group hierarchy is mounted", {
      operation: "detect control groups",
      hint: "Mount one: mount -t cgroup2 none /sys/fs/cgroup",
    });
  }
  const layout: CgroupLayout = { version: hasV1 ? 1 : 2, v1, v2Controllers: [] };
  if (unified !== undefined) {
    layout.v2 = unified.mountPoint;
    layout.v2Controllers = readV2Controllers(unified.mountPoint).split(/\s+/).filter(Boolean);
  }
  return layout;
}

function controllersOf(mount: MountInfo): string[] {
  return mount.superOptions.filter(
    (option) => !notControllers.has(option) && (!option.includes("=") || option.startsWith("name=")),
  );
}

function readControllersFile(mountPoint: string): string {
  return readFileSync(`${mountPoint}/cgroup.controllers`, "utf8");
}

/** The layout of this host. */
export function readCgroupLayout(): CgroupLayout {
  return detectCgroupLayout(readFileSync("/proc/self/mountinfo", "utf8"));
}
