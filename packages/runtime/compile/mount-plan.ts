/**
 * A configuration's mounts, checked and put in order before anything is written. Whoever gets a PlannedMount may rely on
 * its destination being clean, absolute and allowed, and on its type being one of ours or the kernel's to know. Pure.
 */
import { posix } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { DataRef } from "#program/types.ts";
import { type IdMap, planIdMap } from "#runtime/compile/id-mapped-mounts.ts";
import { type MountOptions, parseMountOptions } from "#runtime/mount-options.ts";
import type { SpecMount } from "#runtime/spec-types.ts";

/** Files of /proc that may be mounted over: what they tell can be made up for a container without weakening it. */
const COVERABLE_PROC = new Set(
  [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "uptime",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
  ].map((name) => `/proc/${name}`),
);

export interface PlannedMount {
  /** Cleaned: "/dev/shm". */
  destination: string;
  /** "bind" and "remount" for what is no new file system. */
  type: string;
  source: string;
  subpath: string | undefined;
  /** The source is a path in this mount namespace. */
  mountNamespace: string | undefined;
  options: MountOptions;
  idMap: IdMap | undefined;
  /** Where the descriptor of a bind mount's source is kept. */
  slot?: DataRef;
}

/**
 * Checks and orders the configuration's mounts, and more of our own behind them. Throws "invalid" for those that must not
 * be, naming the field.
 */
export function planMounts(
  given: readonly SpecMount[] | null | undefined,
  more: readonly SpecMount[] = [],
): PlannedMount[] {
  const mounts = given ?? [];
  if (!Array.isArray(mounts)) throw refuse("mounts: must be a list");
  const planned = [...mounts, ...more].map(planMount);
  const late = ({ destination }: PlannedMount) =>
    isUnder(destination, "/proc") || isUnder(destination, "/sys");
  return [...planned.filter((mount) => !late(mount)), ...planned.filter(late)];
}

function planMount(mount: SpecMount, index: number): PlannedMount {
  const field = `mounts[${index}]`;
  checkTypes(mount, field);
  const options = parseMountOptions(mount.options ?? []);
  const { subpath, mountNamespace } = mount;
  const source = mount.source ?? "";
  if (typeof mount.destination !== "string" || mount.destination === "" || mount.destination.includes("\0")) {
    throw refuse(`${field}.destination: invalid mount destination ${JSON.stringify(mount.destination)}`);
  }
  // A relative one is taken from the root, as in the runtimes before; no ".." gets above it.
  const destination = posix.normalize(`/${mount.destination}`).replace(/(?<=.)\/$/, "");
  const type = typeOf(mount, options, field);
  checkDestination(destination, type, source, field);
  if (options.copyUp && type !== "tmpfs") {
    throw refuse(`${field}.options: tmpcopyup is for tmpfs only (mount ${destination})`);
  }
  const idMap = planIdMap(mount, options, field);
  return { destination, type, source, subpath, mountNamespace, options, idMap };
}

/** What JSON may have in the place of what it should have. */
function checkTypes(mount: SpecMount, field: string): void {
  if (typeof mount !== "object" || mount === null) throw refuse(`${field}: a mount is an object`);
  const { type, source } = mount;
  const options: unknown = mount.options ?? [];
  for (const [name, given] of Object.entries({ type, source })) {
    const value: unknown = given ?? "";
    if (typeof value !== "string" || value.includes("\0")) throw refuse(`${field}.${name}: must be a string`);
  }
  if (!Array.isArray(options) || options.some((word) => typeof word !== "string" || word.includes("\0"))) {
    throw refuse(`${field}.options: must be a list of strings`);
  }
}

function typeOf({ type, source }: SpecMount, options: MountOptions, field: string): string {
  if (options.remount) return "remount";
  if (options.bind) {
    if (!source) throw refuse(`${field}.source: a bind mount needs one`);
    return "bind";
  }
  if (type === "bind") throw refuse(`${field}.options: a bind mount needs "bind" or "rbind"`);
  if (!type) throw refuse(`${field}.type: a mount that is no bind mount needs one`);
  return type;
}

function isUnder(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

function refuse(message: string, hint?: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "compile container",
    ...(hint !== undefined && { hint }),
  });
}

function checkDestination(destination: string, type: string, source: string, field: string): void {
  const said = (reason: string) =>
    `${field}.destination: invalid mount destination ${destination}: ${reason}`;
  if (destination === "/") throw refuse(said("destination can't be '/'"));
  if (type === "remount") return;
  if (destination === "/proc" && type !== "proc" && source !== "/proc") {
    throw refuse(said("only a proc file system can be mounted there"));
  }
  if (destination.startsWith("/proc/") && !COVERABLE_PROC.has(destination)) {
    throw refuse(said("cannot be mounted because it is inside /proc"), "mount it elsewhere in the container");
  }
}
