/**
 * /sys/fs/cgroup in the container. Version 1: a tmpfs with one directory per hierarchy, each showing the container's own
 * group only, and links for controllers that share one. Version 2: the hierarchy itself.
 */
import type { Register } from "#program/types.ts";
import { type CgroupDirectory, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { PlannedMount } from "#runtime/compile/mount-plan.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { ContainerParts } from "#runtime/launch-types.ts";
import { MOUNT_ATTR, PROPAGATION } from "#runtime/mount-options.ts";

/** Mounts on the directory behind `target`. */
export function mountCgroups(
  w: ProgramWriter,
  mount: PlannedMount,
  parts: ContainerParts,
  target: Register,
): void {
  const { cgroups, spec, id } = parts;
  const owner = parts.cgroupOwner ?? (spec.linux?.cgroupsPath || id);
  const own = spec.linux?.namespaces?.some(({ type, path }) => type === "cgroup" && !path) ?? false;
  if (mount.type === "cgroup2" || cgroups.version === 2) {
    const group = cgroups.version === 2 ? cgroupDirectories(cgroups, owner)[0]?.path : undefined;
    mountVersion2(w, mount, { all: cgroups.v2, group, own }, target);
  } else mountVersion1(w, mount, cgroupDirectories(cgroups, owner), own, target);
}

/**
 * In a cgroup namespace the hierarchy is mounted anew and begins with the container's own group. Where the kernel does not
 * let us (a user namespace that sees the host's covered, or no cgroup namespace at all), the host's is shown.
 */
function mountVersion2(
  w: ProgramWriter,
  { destination, options }: PlannedMount,
  host: { all: string | undefined; group: string | undefined; own: boolean },
  target: Register,
): void {
  const { b } = w;
  const why = `mount cgroup2 on ${destination}`;
  const { set, clear } = options.attributes;
  const shown = host.own ? (host.group ?? host.all) : host.all;
  w.borrow((mount) => {
    const refused = b.label("show the host's hierarchy");
    const made = b.label(`attach ${destination}`);
    if (host.own || shown === undefined) {
      const { parameters } = options;
      const otherwise = shown === undefined ? undefined : refused;
      w.newMount({ type: "cgroup2", source: "cgroup", parameters, attributes: set }, mount, why, otherwise);
      if (otherwise !== undefined) b.jump(made);
    }
    if (shown !== undefined) {
      if (host.own) b.place(refused);
      w.cloneTree(shown, true, mount, why);
      w.setMountAttributes(mount, { set, clear, propagation: PROPAGATION.private }, true, why);
    }
    if (host.own && shown !== undefined) b.place(made);
    w.attach(mount, target, why);
    w.close(mount);
  });
}

function mountVersion1(
  w: ProgramWriter,
  { destination, options }: PlannedMount,
  directories: readonly CgroupDirectory[],
  own: boolean,
  target: Register,
): void {
  const { b } = w;
  const why = `mount tmpfs on ${destination}`;
  const { set, clear } = options.attributes;
  w.borrow((holder) => {
    const attributes = set & ~MOUNT_ATTR.RDONLY;
    w.newMount({ type: "tmpfs", source: "cgroup", parameters: ["mode=755"], attributes }, holder, why);
    w.attach(holder, target, why);
    for (const directory of directories) {
      const name = directory.root.slice(directory.root.lastIndexOf("/") + 1);
      b.sys("mkdirat", [holder, b.cstr(name), 0o755], { why: `make ${destination}/${name}` });
      for (const controller of directory.controllers) {
        if (controller === name || controller.startsWith("name=")) continue;
        b.sys("symlinkat", [b.cstr(name), holder, b.cstr(controller)], {
          ignore: ERRNO.EEXIST,
          why: `link ${destination}/${controller}`,
        });
      }
      mountHierarchy(w, directory, { name, own, set, clear, destination }, holder);
    }
    if ((set & MOUNT_ATTR.RDONLY) !== 0) {
      w.setMountAttributes(holder, { set: MOUNT_ATTR.RDONLY }, false, `make ${destination} read-only`);
    }
    w.close(holder);
  });
}

function mountHierarchy(
  w: ProgramWriter,
  directory: CgroupDirectory,
  options: { name: string; own: boolean; set: number; clear: number; destination: string },
  holder: Register,
): void {
  const { name, own, set, clear } = options;
  const why = `mount control groups on ${options.destination}/${name}`;
  w.borrow((mount) => {
    if (own) {
      // In a cgroup namespace the hierarchy's root is the container's own group.
      const named = directory.controllers.every((controller) => controller.startsWith("name="));
      const parameters = named ? ["none", ...directory.controllers] : directory.controllers;
      w.newMount({ type: "cgroup", source: "cgroup", parameters, attributes: set }, mount, why);
    } else {
      w.cloneTree(directory.path, false, mount, why);
      w.setMountAttributes(mount, { set, clear, propagation: PROPAGATION.private }, false, why);
    }
    w.borrow((point) => {
      w.openUnder(holder, name, { flags: w.O.PATH | w.O.DIRECTORY, resolve: 0, into: point, why });
      w.attach(mount, point, why);
      w.close(point);
    });
    w.close(mount);
  });
}
