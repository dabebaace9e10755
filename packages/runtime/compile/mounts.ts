/**
 * The container's mounts, written so that an image cannot lead them astray.
 *
 * Every target is opened by descriptor below the root. Everything textually under /proc and /sys comes after all else: a
 * link in the image that leads another mount there finds only the directory below, and the real file systems then cover
 * it. Attributes are set before a mount is attached, so nobody ever sees it without them.
 */
import { BerthError } from "#errors/errors.ts";
import type { DataRef, Register } from "#program/types.ts";
import { mountCgroups } from "#runtime/compile/cgroup-mounts.ts";
import { cleanPath, INSIDE, openDirectory, openFile } from "#runtime/compile/inside-root.ts";
import { ERRNO, RESOLVE } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
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

/** In a procfs of ours nothing may lead away from it. */
const INSIDE_PROC = RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_XDEV;

/** Descriptors of what was mounted, for the steps that follow. */
export interface Mounted {
  root: Register;
  /** Our own procfs, attached at /proc. */
  proc?: Register;
  sys?: Register;
  /** Our own tmpfs, attached at /dev. */
  dev?: Register;
  pts?: Register;
  /** The user put a /dev of his own there: leave it alone. */
  foreignDev: boolean;
}

export interface PlannedMount {
  /** Cleaned: "/dev/shm". */
  destination: string;
  type: string;
  source: string;
  subpath: string | undefined;
  options: MountOptions;
  /** Where the descriptor of a bind mount's source is kept. */
  slot?: DataRef;
}

/** Checks and orders the mounts. Throws "invalid" for those that must not be. */
export function planMounts(mounts: readonly SpecMount[]): PlannedMount[] {
  const planned = mounts.map((mount) => {
    const options = parseMountOptions(mount.options ?? []);
    const type = options.bind || mount.type === "bind" || !mount.type ? "bind" : mount.type;
    const destination = cleanPath(mount.destination, "mount destination");
    checkDestination(destination, type, mount.source ?? "");
    if (options.copyUp) {
      throw new BerthError("not-implemented", `tmpcopyup is not supported (mount ${destination})`, {
        operation: "compile container",
      });
    }
    return { destination, type, source: mount.source ?? "", subpath: mount.subpath, options };
  });
  const late = ({ destination }: PlannedMount) =>
    isUnder(destination, "/proc") || isUnder(destination, "/sys");
  return [...planned.filter((mount) => !late(mount)), ...planned.filter(late)];
}

function isUnder(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

function checkDestination(destination: string, type: string, source: string): void {
  const refuse = (reason: string, hint?: string) =>
    new BerthError("invalid", `invalid mount destination ${destination}: ${reason}`, {
      operation: "compile container",
      object: destination,
      ...(hint !== undefined && { hint }),
    });
  if (destination === "/") throw refuse("destination can't be '/'");
  if (destination === "/proc" && type !== "proc" && source !== "/proc") {
    throw refuse("only a proc file system can be mounted there");
  }
  if (destination.startsWith("/proc/") && !COVERABLE_PROC.has(destination)) {
    throw refuse("cannot be mounted because it is inside /proc", "mount it elsewhere in the container");
  }
}

/**
 * Takes hold of what bind mounts are made of, while the namespace is still a copy of the host's: a source with shared
 * propagation stays a peer of the host's mount only if it is taken now.
 */
export function takeBindSources(w: ProgramWriter, mounts: readonly PlannedMount[]): void {
  for (const mount of mounts) {
    if (mount.type !== "bind") continue;
    const why = `bind mount source path ${mount.source}`;
    mount.slot = w.b.scratch(4, 4);
    const slot = mount.slot;
    w.borrow((tree) => {
      if (mount.subpath) takePart(w, mount, tree);
      else w.cloneTree(mount.source, mount.options.recursive, tree, why);
      w.b.store(tree, slot, 4);
    });
  }
}

/** Part of a volume: what a container may have put in the way of the path is resolved inside the volume. */
function takePart(w: ProgramWriter, mount: PlannedMount, tree: Register): void {
  const why = `bind mount ${mount.subpath} of ${mount.source}`;
  w.borrow((source) => {
    w.open(mount.source, w.O.PATH | w.O.DIRECTORY, source, why);
    w.borrow((part) => {
      w.openUnder(source, mount.subpath ?? "", { flags: w.O.PATH, resolve: INSIDE, into: part, why });
      w.cloneTree(part, mount.options.recursive, tree, why);
      w.close(part);
    });
    w.close(source);
  });
}

/** Mounts everything below the root. */
export function mountAll(
  w: ProgramWriter,
  mounts: readonly PlannedMount[],
  parts: ContainerParts,
  root: Register,
): Mounted {
  const mounted: Mounted = { root, foreignDev: false };
  for (const mount of mounts) {
    if (mount.type === "bind") bindMount(w, mount, mounted);
    else if (mount.type === "cgroup" || mount.type === "cgroup2") {
      openMountPoint(w, mounted, mount, (target) => mountCgroups(w, mount, parts, target));
    } else newFileSystem(w, mount, mounted, mounts);
    if (mount.destination === "/dev" && mount.type !== "tmpfs") mounted.foreignDev = true;
  }
  return mounted;
}

function newFileSystem(
  w: ProgramWriter,
  mount: PlannedMount,
  mounted: Mounted,
  all: readonly PlannedMount[],
): void {
  const { b } = w;
  const { destination, type, source, options } = mount;
  const why = `mount ${type} on ${destination}`;
  const keep = keepAs(mount);
  const place = (fd: Register) => {
    const { set } = options.attributes;
    w.newMount({ type, source: source || type, parameters: options.parameters, attributes: set }, fd, why);
    if (keep === "dev") {
      // Made at once what is mounted on in a moment.
      for (const { destination: other, type: otherType } of all) {
        const name = /^\/dev\/([^/]+)$/.exec(other)?.[1];
        if (name === undefined || otherType === "bind") continue;
        b.sys("mkdirat", [fd, b.cstr(name), 0o755], { ignore: ERRNO.EEXIST, why: `make /dev/${name}` });
      }
    }
    openMountPoint(w, mounted, mount, (target) => w.attach(fd, target, why));
    if (options.propagation !== undefined && options.propagation.flag !== PROPAGATION.private) {
      w.setMountAttributes(fd, { propagation: options.propagation.flag }, false, `${why}: propagation`);
    }
  };
  if (keep === undefined) {
    w.borrow((fd) => {
      place(fd);
      w.close(fd);
    });
    return;
  }
  const fd = b.register(keep);
  place(fd);
  mounted[keep] = fd;
}

function keepAs({ destination, type }: PlannedMount): "proc" | "sys" | "dev" | "pts" | undefined {
  if (destination === "/proc" && type === "proc") return "proc";
  if (destination === "/sys" && type === "sysfs") return "sys";
  if (destination === "/dev" && type === "tmpfs") return "dev";
  if (destination === "/dev/pts" && type === "devpts") return "pts";
  return undefined;
}

/** The descriptor a destination is looked up from, the path below it, and the rules for the lookup. */
function lookup(mounted: Mounted, destination: string): { from: Register; path: string; resolve: number } {
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

function openMountPoint(
  w: ProgramWriter,
  mounted: Mounted,
  { destination, type }: PlannedMount,
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

function bindMount(w: ProgramWriter, mount: PlannedMount, mounted: Mounted): void {
  const { b, O } = w;
  const { destination, source, options, slot } = mount;
  if (slot === undefined) throw new Error(`the source of ${destination} was not taken`);
  const why = `bind mount ${source} on ${destination}`;
  const { from, path, resolve } = lookup(mounted, destination);
  w.borrow((tree) => {
    b.load(tree, slot, 4);
    setBindAttributes(w, tree, options, why);
    w.borrow((target) => {
      const isFile = b.label(`${source} is a file`);
      const go = b.label(`mount on ${destination}`);
      w.borrow((probe) => {
        const flags = O.PATH | O.DIRECTORY;
        w.openUnder(tree, ".", {
          flags,
          resolve: 0,
          into: probe,
          ignore: ERRNO.ENOTDIR,
          why: `look at ${source}`,
        });
        b.jumpIfNegative(probe, isFile);
        w.close(probe);
      });
      openDirectory(w, from, path, target, `open mount point ${destination}`, resolve);
      b.jump(go);
      b.place(isFile);
      openFile(w, from, path, target, `open mount point ${destination}`, resolve);
      b.place(go);
      w.attach(tree, target, why);
      w.close(target);
    });
    w.close(tree);
  });
}

/** Private unless asked otherwise: what is mounted in the container must not show on the host, nor the other way. */
function setBindAttributes(w: ProgramWriter, tree: Register, options: MountOptions, why: string): void {
  const propagation = options.propagation ?? { flag: PROPAGATION.private, recursive: true };
  const { attributes, recursiveAttributes: deep } = options;
  w.setMountAttributes(tree, { propagation: propagation.flag }, propagation.recursive, `${why}: propagation`);
  if (deep.set !== 0 || deep.clear !== 0) {
    w.setMountAttributes(tree, deep, true, `${why}: recursive options`);
  }
  if (attributes.set !== 0 || attributes.clear !== 0) {
    w.setMountAttributes(tree, attributes, false, `${why}: options`);
  }
}

/** Makes the whole root read-only; what is mounted below keeps its own ways. */
export function makeRootReadOnly(w: ProgramWriter, root: Register): void {
  w.setMountAttributes(root, { set: MOUNT_ATTR.RDONLY }, false, "make the root file system read-only");
}
