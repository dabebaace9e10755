/**
 * /dev: nodes of the configuration, the links every program expects, and the console. Nodes are made in our own tmpfs by
 * single names; a /dev from the image is only ever opened below the root.
 */
import { BerthError } from "#errors/errors.ts";
import type { Register } from "#program/types.ts";
import { cleanPath, INSIDE, openDirectory, openFile } from "#runtime/compile/inside-root.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  deviceNumber,
  ERRNO,
  RESOLVE,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
} from "#runtime/compile/kernel-constants.ts";
import type { Mounted } from "#runtime/compile/mounts.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { SpecDevice } from "#runtime/spec-types.ts";

/** Name in /dev → what it leads to. */
const LINKS: readonly (readonly [name: string, target: string])[] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["core", "/proc/kcore"],
  ["ptmx", "pts/ptmx"],
];

/** The umask must be 0, so that modes are what they are said to be. */
export function makeDevices(w: ProgramWriter, devices: readonly SpecDevice[], mounted: Mounted): void {
  const { b } = w;
  if (mounted.foreignDev) return;
  withDev(w, mounted, (dev) => {
    for (const [name, target] of LINKS) {
      b.sys("symlinkat", [b.cstr(target), dev, b.cstr(name)], {
        ignore: ERRNO.EEXIST,
        why: `link /dev/${name} to ${target}`,
      });
    }
    for (const device of devices) makeDevice(w, device, mounted.root, dev);
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

function makeDevice(w: ProgramWriter, device: SpecDevice, root: Register, dev: Register): void {
  const path = cleanPath(device.path, "device path");
  const cut = path.lastIndexOf("/");
  const name = path.slice(cut + 1);
  const directory = path.slice(0, cut);
  if (directory === "/dev") {
    makeNode(w, device, dev, name);
    return;
  }
  w.borrow((parent) => {
    if (directory.startsWith("/dev/")) {
      openDirectory(w, dev, directory.slice("/dev/".length), parent, `open ${directory}`);
    } else {
      openDirectory(w, root, directory.slice(1), parent, `open ${directory || "/"}`);
    }
    makeNode(w, device, parent, name);
    w.close(parent);
  });
}

function makeNode(w: ProgramWriter, device: SpecDevice, directory: Register, name: string): void {
  const { b } = w;
  const { path, type, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
  const kinds: Record<string, number> = { c: S_IFCHR, u: S_IFCHR, b: S_IFBLK, p: S_IFIFO };
  const kind = kinds[type];
  if (kind === undefined) {
    throw new BerthError("invalid", `invalid type ${JSON.stringify(type)} of device ${path}`, {
      operation: "compile container",
    });
  }
  const number = type === "p" ? 0 : deviceNumber(major, minor);
  const named = b.cstr(name);
  b.sys("mknodat", [directory, named, kind | (fileMode & 0o7777), number], {
    ignore: ERRNO.EEXIST,
    why: `make device ${path}`,
  });
  if (uid !== 0 || gid !== 0) {
    b.sys("fchownat", [directory, named, uid, gid, AT_SYMLINK_NOFOLLOW], { why: `own device ${path}` });
  }
}

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
