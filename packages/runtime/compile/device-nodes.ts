/**
 * /dev: nodes of the configuration, the links every program expects, and the console. Nodes are made in our own tmpfs by
 * single names; a /dev from the image is only ever opened below the root.
 */
import { BerthError } from "#errors/errors.ts";
import type { DataRef, Register } from "#program/types.ts";
import { cleanPath, INSIDE, openDirectory, openFile } from "#runtime/compile/inside-root.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  deviceNumber,
  ERRNO,
  RESOLVE,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  statLayout,
} from "#runtime/compile/kernel-constants.ts";
import type { Mounted } from "#runtime/compile/mount-points.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { DEFAULT_DEVICES } from "#runtime/default-spec.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import { PROPAGATION } from "#runtime/mount-options.ts";
import type { SpecDevice } from "#runtime/spec-types.ts";

const KINDS: Readonly<Record<SpecDevice["type"], number>> = {
  c: S_IFCHR,
  u: S_IFCHR,
  b: S_IFBLK,
  p: S_IFIFO,
};

/** Name in /dev → what it leads to. */
const LINKS: readonly (readonly [name: string, target: string])[] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["core", "/proc/kcore"],
  ["ptmx", "pts/ptmx"],
];

/**
 * The configuration's devices, cleaned and checked, and before them those every container has (config-linux.md, "Default
 * Devices") that it doesn't describe itself. Throws "invalid", naming the field.
 */
export function planDevices(devices: readonly SpecDevice[] | null | undefined): SpecDevice[] {
  const given = devices ?? [];
  if (!Array.isArray(given)) throw refuse("linux.devices: must be a list");
  const own = given.map((device: SpecDevice, index) => {
    const field = `linux.devices[${index}]`;
    const { type, major, minor, path, fileMode, uid, gid } = device;
    if (typeof path !== "string") throw refuse(`${field}.path: must be a string`);
    if (!Object.hasOwn(KINDS, type)) {
      throw refuse(`${field}.type: invalid type ${JSON.stringify(type)} of device ${path}`);
    }
    for (const [name, number] of Object.entries({ major, minor })) {
      if (type !== "p" && !(Number.isInteger(number) && (number ?? -1) >= 0)) {
        throw refuse(`${field}.${name}: device ${path} needs a number, not ${JSON.stringify(number)}`);
      }
    }
    for (const [name, number] of Object.entries({ fileMode, uid, gid })) {
      if (number !== undefined && number !== null && !(Number.isInteger(number) && number >= 0)) {
        throw refuse(`${field}.${name}: must be a number of 0 or more, not ${JSON.stringify(number)}`);
      }
    }
    const cleaned = cleanPath(path, `path in ${field}.path`);
    if (cleaned === "/") throw refuse(`${field}.path: "/" is no device`);
    return { ...device, path: cleaned };
  });
  const described = new Set(own.map(({ path }) => path));
  return [...DEFAULT_DEVICES.filter(({ path }) => !described.has(path)), ...own];
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "compile container" });
}

/** The umask must be 0, so that modes are what they are said to be. */
export function makeDevices(
  w: ProgramWriter,
  devices: readonly SpecDevice[],
  mounted: Mounted,
  host: HostFacts,
): void {
  const { b } = w;
  if (mounted.foreignDev) return;
  withDev(w, mounted, (dev) => {
    // A terminal multiplexer that an image brings is not the one of the container's devpts.
    if (mounted.dev === undefined) {
      b.sys("unlinkat", [dev, b.cstr("ptmx"), 0], { ignore: ERRNO.ENOENT, why: "remove an old /dev/ptmx" });
    }
    for (const [name, target] of LINKS) {
      b.sys("symlinkat", [b.cstr(target), dev, b.cstr(name)], {
        ignore: ERRNO.EEXIST,
        why: `link /dev/${name} to ${target}`,
      });
    }
    const { root, limited } = mounted;
    const fresh = mounted.dev !== undefined;
    for (const device of devices) makeDevice(w, device, { root, dev, host, fresh, limited });
  });
}

/** A descriptor of /dev, our own one or the image's. */
function withDev(w: ProgramWriter, mounted: Mounted, use: (dev: Register) => void): void {
  if (mounted.dev !== undefined) {
    use(mounted.dev);
    return;
  }
  w.borrow((dev) => {
    openDirectory(w, mounted.root, "dev", dev, "open /dev");
    use(dev);
    w.close(dev);
  });
}

interface Places {
  root: Register;
  dev: Register;
  host: HostFacts;
  /** Our own /dev, where nobody has made anything before. */
  fresh: boolean;
  /** In a user namespace no device can be made: the host's are mounted. */
  limited: boolean;
}

function makeDevice(w: ProgramWriter, device: SpecDevice, places: Places): void {
  const { root, dev, host, fresh, limited } = places;
  const { path } = device;
  const cut = path.lastIndexOf("/");
  const name = path.slice(cut + 1);
  const directory = path.slice(0, cut);
  if (directory === "/dev") {
    makeNode(w, device, dev, { name, host, fresh, limited });
    return;
  }
  w.borrow((parent) => {
    if (directory.startsWith("/dev/")) {
      openDirectory(w, dev, directory.slice("/dev/".length), parent, `open ${directory}`);
    } else {
      openDirectory(w, root, directory.slice(1), parent, `open ${directory || "/"}`);
    }
    makeNode(w, device, parent, { name, host, fresh: false, limited });
    w.close(parent);
  });
}

function makeNode(
  w: ProgramWriter,
  device: SpecDevice,
  directory: Register,
  { name, host, fresh, limited }: { name: string; host: HostFacts; fresh: boolean; limited: boolean },
): void {
  const { b } = w;
  const { path, type, major = 0, minor = 0 } = device;
  const fileMode = device.fileMode ?? 0o666;
  const uid = device.uid ?? 0;
  const gid = device.gid ?? 0;
  const number = type === "p" ? 0 : deviceNumber(major, minor);
  if (limited && type !== "p") {
    bindNode(w, { path, type, number }, directory, { name, host });
    return;
  }
  const named = b.cstr(name);
  const make = (into?: Register) =>
    b.sys("mknodat", [directory, named, KINDS[type] | (fileMode & 0o7777), number], {
      ...(into && { into }),
      ignore: ERRNO.EEXIST,
      why: `make device ${path}`,
    });
  const own = () => {
    if (uid === 0 && gid === 0) return;
    b.sys("fchownat", [directory, named, uid, gid, AT_SYMLINK_NOFOLLOW], { why: `own device ${path}` });
  };
  if (fresh) {
    make();
    own();
    return;
  }
  const exists = b.label(`${path} is there`);
  const done = b.label(`have ${path}`);
  w.borrow((made) => {
    make(made);
    b.jumpIfNegative(made, exists);
  });
  own();
  b.jump(done);
  b.place(exists);
  checkNode(w, { path, type, number }, directory, { named, host });
  w.place(done);
}

/** The host's node of that path, which must be that device. */
function bindNode(
  w: ProgramWriter,
  { path, type, number }: { path: string; type: SpecDevice["type"]; number: number },
  directory: Register,
  { name, host }: { name: string; host: HostFacts },
): void {
  const why = `bind mount the host's device ${path}`;
  w.borrow((tree) => {
    w.cloneTree(path, false, tree, why);
    w.setMountAttributes(tree, { propagation: PROPAGATION.private }, false, why);
    w.borrow((target) => {
      openFile(w, directory, name, target, why, INSIDE | RESOLVE.NO_SYMLINKS);
      w.attach(tree, target, why);
      w.close(target);
    });
    w.close(tree);
  });
  checkNode(w, { path, type, number }, directory, { named: w.b.cstr(name), host });
}

/**
 * What an image has under a device's name must be that device. Two numbers are compared by a wait on a futex, which is
 * over at once: by a time-out that is none if they are equal, by an error if they are not.
 */
function checkNode(
  w: ProgramWriter,
  { path, type, number }: { path: string; type: SpecDevice["type"]; number: number },
  directory: Register,
  { named, host }: { named: DataRef; host: HostFacts },
): void {
  const { b, O } = w;
  const layout = statLayout(host.architecture);
  const why = `linux.devices: ${path} exists and is something else`;
  const status = b.scratch(layout.size, 8);
  b.sys("newfstatat", [directory, named, status, AT_SYMLINK_NOFOLLOW], { why });
  const now = w.constant({ width: 8, value: 0 }, { width: 8, value: 0 });
  b.sys("futex", [b.slice(status, layout.rdev, 4), FUTEX_WAIT, number, now, 0, 0], {
    ignore: ERRNO.ETIMEDOUT,
    why,
  });
  if (type !== "p") return;
  // No device, then. Of what can be opened then, only a pipe has no position.
  w.borrow((pipe) => {
    b.sys("openat", [directory, named, O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC, 0], { into: pipe, why });
    const isPipe = b.label(`${path} is a pipe`);
    w.borrow((position) => {
      b.sys("lseek", [pipe, 0, SEEK_CUR], { into: position, ignore: ERRNO.ESPIPE, why });
      b.jumpIfNegative(position, isPipe);
    });
    b.sys("lseek", [pipe, 0, NO_WHENCE], { why });
    b.place(isPipe);
    w.close(pipe);
  });
}

/** An error, whatever the file. */
const NO_WHENCE = 99;
const SEEK_CUR = 1;
const FUTEX_WAIT = 0;

/** Mounts the terminal itself, by its descriptor, on /dev/console. */
export function mountConsole(w: ProgramWriter, slave: Register, mounted: Mounted): void {
  const { root, dev } = mounted;
  w.borrow((tree) => {
    w.cloneTree(slave, false, tree, "take the terminal for /dev/console");
    w.borrow((target) => {
      const why = "open mount point /dev/console";
      // Without a /dev of ours, what the image has there must be a plain name: no link is followed to another place.
      const resolve = INSIDE | RESOLVE.NO_SYMLINKS;
      if (dev !== undefined) openFile(w, dev, "console", target, why, resolve);
      else openFile(w, root, "dev/console", target, why, resolve);
      w.attach(tree, target, "mount the terminal on /dev/console");
      w.close(target);
    });
    w.close(tree);
  });
}
