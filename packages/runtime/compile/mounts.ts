/**
 * The container's mounts, written so that an image cannot lead them astray.
 *
 * Every target is opened by descriptor below the root. Everything textually under /proc and /sys comes after all else: a
 * link in the image that leads another mount there finds only the directory below, and the real file systems then cover
 * it. Attributes are set before a mount is attached, so nobody ever sees it without them; only a tmpfs that is to be read
 * stays open to writing until everything in it has been made.
 */
import type { Register } from "#program/types.ts";
import { bindMount } from "#runtime/compile/bind-mounts.ts";
import { mountCgroups } from "#runtime/compile/cgroup-mounts.ts";
import { copyTree, lookBelow, takeOver } from "#runtime/compile/copy-up.ts";
import { ERRNO, FSCONFIG, FSPICK, statLayout } from "#runtime/compile/kernel-constants.ts";
import type { PlannedMount } from "#runtime/compile/mount-plan.ts";
import { lookup, type Mounted, openMountPoint } from "#runtime/compile/mount-points.ts";
import type { FileSystem, ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { ContainerParts } from "#runtime/launch-types.ts";
import { MOUNT_ATTR, PROPAGATION } from "#runtime/mount-options.ts";

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
