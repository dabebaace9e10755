/** How the container's root comes to be mounted in its own mount namespace, and how it becomes "/". */
import { BerthError } from "#errors/errors.ts";
import type { Register } from "#program/types.ts";
import {
  FSCONFIG,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MNT_DETACH,
  MS,
} from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";

/** mount(2) takes one page of options, NUL included. */
const MAX_MOUNT_DATA = 4095;
/** A parameter of fsconfig(2) has 256 bytes, NUL included. */
const MAX_PARAMETER = 255;

/** How the root's mount relates to others (config-linux.md, "Rootfs Mount Propagation"). */
export type RootPropagation = keyof typeof PROPAGATIONS;

const PROPAGATIONS = {
  shared: MS.SHARED,
  slave: MS.SLAVE,
  private: MS.PRIVATE,
  unbindable: MS.UNBINDABLE,
  rshared: MS.SHARED | MS.REC,
  rslave: MS.SLAVE | MS.REC,
  rprivate: MS.PRIVATE | MS.REC,
  runbindable: MS.UNBINDABLE | MS.REC,
} as const;

/** Throws "invalid" for a word that is none. */
export function planPropagation(name = ""): RootPropagation {
  if (name === "") return "private";
  if (Object.hasOwn(PROPAGATIONS, name)) return name as RootPropagation;
  const known = Object.keys(PROPAGATIONS).join(", ");
  const message = `linux.rootfsPropagation: ${JSON.stringify(name)} is none of ${known}`;
  throw new BerthError("invalid", message, { operation: "compile container" });
}

/**
 * Mounts the root; `into` gets its descriptor. Changes the working directory. A directory of the host's becomes a mount
 * of its own, which takes part in what the host mounts below that directory later if it is to be a slave, and in nothing
 * otherwise.
 */
export function mountRoot(
  w: ProgramWriter,
  plan: RootfsPlan,
  into: Register,
  propagation: RootPropagation,
): void {
  const { b, O } = w;
  if (plan.kind === "directory") {
    const path = b.cstr(plan.path);
    // Onto itself: only a mount can become the root.
    const why = `mount root file system ${plan.path}`;
    b.sys("mount", [path, path, 0, MS.BIND | MS.REC, 0], { why });
    if (propagation !== "slave" && propagation !== "rslave") {
      b.sys("mount", [0, path, 0, MS.PRIVATE | MS.REC, 0], {
        why: `keep the host's mounts from ${plan.path}`,
      });
    }
    w.open(plan.path, O.PATH | O.DIRECTORY, into, `open root file system ${plan.path}`);
    return;
  }
  b.sys("chdir", [b.cstr(plan.base)], { why: `go to ${plan.base}` });
  mountOverlay(w, plan);
  w.open(plan.merged, O.PATH | O.DIRECTORY, into, `open root file system ${plan.merged}`);
}

/**
 * The same with the host's rights, for a process that won't have them when it mounts the rest: a mount that is attached
 * nowhere, in a mount namespace of the host's.
 */
export function takeRoot(
  w: ProgramWriter,
  plan: RootfsPlan,
  into: Register,
  propagation: RootPropagation,
): void {
  if (plan.kind === "directory") {
    const why = `mount root file system ${plan.path}`;
    const follows = propagation === "slave" || propagation === "rslave";
    w.cloneTree(plan.path, true, into, why);
    w.setMountAttributes(into, { propagation: follows ? MS.SLAVE : MS.PRIVATE }, true, `${why}: propagation`);
    return;
  }
  const { b } = w;
  b.sys("chdir", [b.cstr(plan.base)], { why: `go to ${plan.base}` });
  makeOverlay(w, plan, into);
}

/** In the mount namespace that it is to be the root of: on top of "/", since nothing else of the host need be in reach. */
export function attachRoot(w: ProgramWriter, root: Register): void {
  w.borrow((target) => {
    w.open("/", w.O.PATH | w.O.DIRECTORY, target, "open the host's root");
    w.attach(root, target, "mount the root file system on top of the host's");
    w.close(target);
  });
}

type Overlay = Extract<RootfsPlan, { kind: "overlay" }>;

function mountOverlay(w: ProgramWriter, plan: Overlay): void {
  const { b } = w;
  const why = `mount overlay on ${plan.merged}`;
  const data = [
    `lowerdir=${plan.lower.map(escapeLower).join(":")}`,
    `upperdir=${escapeOption(plan.upper)}`,
    `workdir=${escapeOption(plan.work)}`,
    ...plan.options,
  ].join(",");
  if (Buffer.byteLength(data) <= MAX_MOUNT_DATA) {
    const name = b.cstr("overlay");
    b.sys("mount", [name, b.cstr(plan.merged), name, 0, b.cstr(data)], { why });
    return;
  }
  // Too many layers for one page.
  w.borrow((mount) => {
    makeOverlay(w, plan, mount);
    w.borrow((target) => {
      w.open(plan.merged, w.O.PATH | w.O.DIRECTORY, target, why);
      w.attach(mount, target, why);
      w.close(target);
    });
    w.close(mount);
  });
}

/** Attached nowhere. Layers whose names don't fit into one parameter are told one by one (Linux 6.5 and later). */
function makeOverlay(w: ProgramWriter, plan: Overlay, into: Register): void {
  const { b } = w;
  const why = `mount overlay on ${plan.merged}`;
  const together = plan.lower.map(escapeLower).join(":");
  w.borrow((context) => {
    b.sys("fsopen", [b.cstr("overlay"), FSOPEN_CLOEXEC], { into: context, why });
    const set = (key: string, value: string) =>
      b.sys("fsconfig", [context, FSCONFIG.SET_STRING, b.cstr(key), b.cstr(value), 0], {
        why: `${why}: ${key}`,
      });
    set("source", "overlay");
    if (Buffer.byteLength(together) <= MAX_PARAMETER) set("lowerdir", together);
    else for (const lower of plan.lower) set("lowerdir+", lower);
    set("upperdir", plan.upper);
    set("workdir", plan.work);
    for (const option of plan.options) {
      const [key = "", value = ""] = option.split("=", 2);
      set(key, value);
    }
    b.sys("fsconfig", [context, FSCONFIG.CMD_CREATE, 0, 0, 0], { why });
    b.sys("fsmount", [context, FSMOUNT_CLOEXEC, 0], { into, why });
    w.close(context);
  });
}

/** A comma would end the option, a colon the layer. */
function escapeOption(path: string): string {
  return path.replace(/[\\,]/g, "\\$&");
}

function escapeLower(path: string): string {
  return path.replace(/[\\,:]/g, "\\$&");
}

/**
 * Makes the root "/" where pivot_root cannot (the host runs from its initial ram disk): moves it there, and leaves the
 * host's mounts below, out of reach of any path.
 */
export function moveTo(
  w: ProgramWriter,
  root: Register,
  propagation: RootPropagation,
  { there = false }: { there?: boolean } = {},
): void {
  const { b } = w;
  const dot = b.cstr(".");
  b.sys("fchdir", [root], { why: "go to the root file system" });
  if (!there) b.sys("mount", [dot, b.cstr("/"), 0, MS.MOVE, 0], { why: "move the root file system to /" });
  b.sys("chroot", [dot], { why: "make the root file system /" });
  enterRoot(w, propagation);
}

/** Makes the root "/" and drops everything of the host's mount table. */
export function pivotTo(w: ProgramWriter, root: Register, propagation: RootPropagation): void {
  const { b, O } = w;
  const dot = b.cstr(".");
  w.borrow((oldRoot) => {
    w.open("/", O.PATH | O.DIRECTORY, oldRoot, "open the host's root");
    b.sys("fchdir", [root], { why: "go to the root file system" });
    b.sys("pivot_root", [dot, dot], { why: "make the root file system /" });
    // The old root now lies on top of the new one; it is a slave of the host's, so this stays here.
    b.sys("fchdir", [oldRoot], { why: "go to the host's root" });
    b.sys("umount2", [dot, MNT_DETACH], { why: "drop the host's mounts" });
    w.close(oldRoot);
  });
  enterRoot(w, propagation);
}

function enterRoot(w: ProgramWriter, propagation: RootPropagation): void {
  const { b } = w;
  b.sys("chdir", [b.cstr("/")], { why: "go to /" });
  // A root is private or a slave from its making. Were it shared earlier, every mount made in it would have been, too.
  const flag = PROPAGATIONS[propagation];
  if ((flag & (MS.SHARED | MS.UNBINDABLE)) !== 0) {
    b.sys("mount", [0, b.cstr("/"), 0, flag, 0], { why: `make / ${propagation}` });
  }
}
