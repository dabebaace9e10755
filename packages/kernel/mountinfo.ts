/**
 * Parser of /proc/<pid>/mountinfo (format: proc(5)).
 *
 * Lines that do not have the form are skipped: the kernel may add kinds we do not know, and one odd line must not hide
 * the others.
 */
import { readFileSync } from "node:fs";

export interface MountInfo {
  id: number;
  parentId: number;
  major: number;
  minor: number;
  /** Path inside the file system that is the root of this mount. */
  root: string;
  mountPoint: string;
  /** Options of the mount: "rw", "nosuid" … */
  options: string[];
  /** Optional fields: "shared:2", "master:1" … */
  optional: string[];
  fsType: string;
  source: string;
  /** Options of the file system: "lowerdir=…", "memory" … */
  superOptions: string[];
}

export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split("\n")) {
    const separator = line.indexOf(" - ");
    if (separator < 0) continue;
    const before = line.slice(0, separator).split(" ");
    const after = line.slice(separator + 3).split(" ");
    const [id, parentId, device, root, mountPoint, options] = before;
    const [fsType, source, superOptions] = after;
    if (id === undefined || parentId === undefined || device === undefined) continue;
    if (root === undefined || mountPoint === undefined || options === undefined) continue;
    if (fsType === undefined) continue;
    const [major, minor] = device.split(":");
    mounts.push({
      id: Number(id),
      parentId: Number(parentId),
      major: Number(major),
      minor: Number(minor),
      root: unescapeField(root),
      mountPoint: unescapeField(mountPoint),
      options: options.split(","),
      optional: before.slice(6).filter((field) => field !== ""),
      fsType: unescapeField(fsType),
      source: unescapeField(source ?? ""),
      superOptions: (superOptions ?? "").split(",").filter((option) => option !== ""),
    });
  }
  return mounts;
}

/** Space, tab, newline and backslash are written as three octal digits. */
function unescapeField(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** The mounts this process sees. */
export function readMountInfo(): MountInfo[] {
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The mount `path` (absolute, without symbolic links) lies on: the last one with the longest mount point above it. */
export function mountOf(path: string, mounts: readonly MountInfo[]): MountInfo | undefined {
  let best: MountInfo | undefined;
  for (const mount of mounts) {
    const inside =
      mount.mountPoint === "/" || path === mount.mountPoint || path.startsWith(`${mount.mountPoint}/`);
    if (inside && mount.mountPoint.length >= (best?.mountPoint.length ?? 0)) best = mount;
  }
  return best;
}
