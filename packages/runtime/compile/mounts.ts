/**
 * The container's mounts, written so that an image cannot lead them astray.
 *
 * Every target is opened by descriptor below the root. Everything textually under /proc and /sys comes after all else: a
 * link in the image that leads another mount there finds only the directory below, and the real file systems then cover
 * it. Attributes are set before a mount is attached, so nobody ever sees it without them; only a tmpfs that is to be read
 * stays open to writing until everything in it has been made.
 */
import { posix } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { DataRef, Register } from "#program/types.ts";
import { bindMount } from "#runtime/compile/bind-mounts.ts";
import { mountCgroups } from "#runtime/compile/cgroup-mounts.ts";
import { copyTree, lookBelow, takeOver } from "#runtime/compile/copy-up.ts";
import { type IdMap, planIdMap } from "#runtime/compile/id-mapped-mounts.ts";
import { ERRNO, FSCONFIG, FSPICK, statLayout } from "#runtime/compile/kernel-constants.ts";
import { lookup, type Mounted, openMountPoint } from "#runtime/compile/mount-points.ts";
import type { FileSystem, ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { ContainerParts } from "#runtime/launch-types.ts";
import { MOUNT_ATTR, type MountOptions, PROPAGATION, parseMountOptions } from "#runtime/mount-options.ts";
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
  const { subpath } = mount;
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
  return { destination, type, source, subpath, options, idMap };
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

/** Mounts everything below the root. */
export function mountAll(
  w: ProgramWriter,
  mounts: readonly PlannedMount[],
  parts: ContainerParts,
  root: Register,
  limited = false,
): Mounted {
  const mounted: Mounted = { root, limited, foreignDev: false, closing: [] };
  for (const mount of mounts) {
    const { destination, type } = mount;
    const keep = keepAs(mount);
    if (type === "remount") changeMount(w, mount, mounted);
    else if (type === "bind") bindMount(w, mount, mounted);
    else if (type === "cgroup" || type === "cgroup2") {
      openMountPoint(w, mounted, mount, (target) => mountCgroups(w, mount, parts, target));
    } else newFileSystem(w, mount, mounted, { all: mounts, keep, parts });
    if (type !== "remount" && keep === undefined) forget(mounted, destination);
    if (destination === "/dev" && type !== "remount") mounted.foreignDev = type !== "tmpfs";
  }
  return mounted;
}

type Kept = "proc" | "sys" | "dev" | "pts";

function keepAs({ destination, type }: PlannedMount): Kept | undefined {
  if (destination === "/proc" && type === "proc") return "proc";
  if (destination === "/sys" && type === "sysfs") return "sys";
  if (destination === "/dev" && type === "tmpfs") return "dev";
  if (destination === "/dev/pts" && type === "devpts") return "pts";
  return undefined;
}

/** Something else covers what was ours. */
function forget(mounted: Mounted, destination: string): void {
  if (destination === "/proc") delete mounted.proc;
  if (destination === "/sys") delete mounted.sys;
  if (destination === "/dev") delete mounted.dev;
  if (destination === "/dev" || destination === "/dev/pts") delete mounted.pts;
}

function newFileSystem(
  w: ProgramWriter,
  mount: PlannedMount,
  mounted: Mounted,
  { all, keep, parts }: { all: readonly PlannedMount[]; keep: Kept | undefined; parts: ContainerParts },
): void {
  const { destination, type, source, options } = mount;
  const why = `mount ${type} on ${destination}`;
  const late = type === "tmpfs" && (options.attributes.set & MOUNT_ATTR.RDONLY) !== 0;
  const attributes = late ? options.attributes.set & ~MOUNT_ATTR.RDONLY : options.attributes.set;
  const place = (fd: Register) => {
    // What lies on a device is not opened for writing when it is to be read only.
    const device = source.startsWith("/") && (attributes & MOUNT_ATTR.RDONLY) !== 0;
    const parameters = device ? ["ro", ...options.parameters] : options.parameters;
    const { leniently } = options;
    const fs = { type, source: source || type, parameters, attributes, leniently };
    if (mounted.limited && type === "sysfs") newSysfs(w, fs, fd, why);
    else w.newMount(fs, fd, why);
    if (keep === "dev") makeNames(w, fd, all);
    const furnish = type === "tmpfs" ? furnishing(w, mount, mounted, parts) : undefined;
    openMountPoint(w, mounted, mount, (target) => {
      furnish?.(target, fd);
      w.attach(fd, target, why);
    });
    const { attributes: given, recursiveAttributes: deep } = options;
    if (deep.set !== 0 || deep.clear !== 0) {
      w.setMountAttributes(fd, { set: deep.set, clear: deep.clear & ~given.set }, false, `${why}: options`);
    }
    for (const { flag } of options.propagation) {
      if (flag !== PROPAGATION.private) {
        w.setMountAttributes(fd, { propagation: flag }, false, `${why}: propagation`);
      }
    }
    if (late) closeLater(w, fd, mounted, `${why}: read-only`);
  };
  if (keep === undefined) {
    w.borrow((fd) => {
      place(fd);
      w.close(fd);
    });
    return;
  }
  const fd = w.b.register(keep);
  place(fd);
  mounted[keep] = fd;
}

/** Only who owns the network namespace may mount it: with the host's, or somebody else's, the host's is shown. */
function newSysfs(w: ProgramWriter, fs: FileSystem, fd: Register, why: string): void {
  const refused = w.b.label("show the host's sysfs");
  const made = w.b.label("have a sysfs");
  w.newMount(fs, fd, why, refused);
  w.b.jump(made);
  w.b.place(refused);
  w.cloneTree("/sys", true, fd, why);
  w.setMountAttributes(fd, { propagation: PROPAGATION.private }, true, `${why}: propagation`);
  w.setMountAttributes(fd, { set: fs.attributes & ~MOUNT_ATTR.ATIME_MASK }, true, `${why}: options`);
  w.b.place(made);
}

/** Names in our own /dev that are mounted on in a moment. */
function makeNames(w: ProgramWriter, dev: Register, all: readonly PlannedMount[]): void {
  for (const { destination, type } of all) {
    const name = /^\/dev\/([^/]+)$/.exec(destination)?.[1];
    if (name === undefined || type === "bind" || type === "remount") continue;
    w.b.sys("mkdirat", [dev, w.b.cstr(name), 0o755], { ignore: ERRNO.EEXIST, why: `make /dev/${name}` });
  }
}

/** A tmpfs looks like the directory that it covers, and with tmpcopyup has in it what that has. */
function furnishing(
  w: ProgramWriter,
  { destination, options }: PlannedMount,
  mounted: Mounted,
  parts: ContainerParts,
): ((target: Register, fd: Register) => void) | undefined {
  const given = (name: string) => options.parameters.some((parameter) => parameter.startsWith(`${name}=`));
  const mode = !given("mode");
  const owner = options.copyUp && !given("uid") && !given("gid");
  if (!mode && !options.copyUp) return undefined;
  const layout = statLayout(parts.host.architecture);
  const why = `open mount point ${destination}`;
  const status = lookBelow(w, lookup(mounted, destination), layout, why);
  return (target, fd) => {
    if (options.copyUp) copyTree(w, target, fd, { why: `copy what is in ${destination}`, layout });
    takeOver(w, status, fd, { layout, mode, owner, why });
  };
}

function closeLater(w: ProgramWriter, fd: Register, mounted: Mounted, why: string): void {
  const slot = w.b.scratch(4, 4);
  w.borrow((kept) => {
    w.b.sys("fcntl", [fd, F_DUPFD_CLOEXEC, 0], { into: kept, why });
    w.b.store(kept, slot, 4);
  });
  mounted.closing.push(() =>
    w.borrow((kept) => {
      w.b.load(kept, slot, 4);
      w.setMountAttributes(kept, { set: MOUNT_ATTR.RDONLY }, false, why);
      w.close(kept);
    }),
  );
}

const F_DUPFD_CLOEXEC = 1030;

/** What a mount can be said to have; those that aren't given are taken away by a remount. */
const CHANGEABLE =
  MOUNT_ATTR.RDONLY |
  MOUNT_ATTR.NOSUID |
  MOUNT_ATTR.NODEV |
  MOUNT_ATTR.NOEXEC |
  MOUNT_ATTR.NODIRATIME |
  MOUNT_ATTR.NOSYMFOLLOW;

/** The file system itself is only touched where parameters are given: others may have it mounted, too. */
function changeMount(w: ProgramWriter, mount: PlannedMount, mounted: Mounted): void {
  const { b, O } = w;
  const { destination, options } = mount;
  const why = `remount ${destination}`;
  const { from, path, resolve } = lookup(mounted, destination);
  w.borrow((target) => {
    w.openUnder(from, path, { flags: O.PATH, resolve, into: target, why });
    if (!options.bind && options.parameters.length > 0) {
      w.borrow((context) => {
        const flags = FSPICK.CLOEXEC | FSPICK.EMPTY_PATH;
        b.sys("fspick", [target, b.cstr(""), flags], { into: context, why });
        w.parameters(context, options.parameters, why);
        b.sys("fsconfig", [context, FSCONFIG.CMD_RECONFIGURE, 0, 0, 0], { why });
        w.close(context);
      });
    }
    const { set, clear } = options.attributes;
    const all = { set, clear: clear | (CHANGEABLE & ~set) };
    if (mounted.limited) w.setUnlessLocked(target, all, { set, clear }, why);
    else w.setMountAttributes(target, all, false, why);
    for (const { flag, recursive } of options.propagation) {
      w.setMountAttributes(target, { propagation: flag }, recursive, `${why}: propagation`);
    }
    w.close(target);
  });
}

/** Closes to writing what was kept open, and the whole root if it is to be; what is mounted below keeps its own ways. */
export function closeToWriting(w: ProgramWriter, mounted: Mounted, rootToo: boolean): void {
  for (const close of mounted.closing) close();
  if (rootToo) {
    const why = "make the root file system read-only";
    w.setMountAttributes(mounted.root, { set: MOUNT_ATTR.RDONLY }, false, why);
  }
}
