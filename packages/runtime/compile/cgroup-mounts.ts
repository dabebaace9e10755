/**
 * /sys/fs/cgroup in the container. Version 1: a tmpfs with one directory per hierarchy, each showing the container's own
 * group only, and links for controllers that share one. Version 2: the hierarchy itself.
 */
import type { Register } from "#program/types.ts";
import { type CgroupDirectory, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { PlannedMount } from "#runtime/compile/mounts.ts";
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
  if (mount.type === "cgroup2" || cgroups.version === 2) mountVersion2(w, mount, cgroups.v2, own, target);
  else mountVersion1(w, mount, cgroupDirectories(cgroups, owner), own, target);
}

function mountVersion2(
  w: ProgramWriter,
  { destination, options }: PlannedMount,
  hostPath: string | undefined,
  own: boolean,
  target: Register,
): void {
  const why = `mount cgroup2 on ${destination}`;
  const { set, clear } = options.attributes;
  w.borrow((mount) => {
    if (own || hostPath === undefined) {
      w.newMount(
        { type: "cgroup2", source: "cgroup", parameters: options.parameters, attributes: set },
        mount,
        why,
      );
    } else {
      w.cloneTree(hostPath, true, mount, why);
      w.setMountAttributes(mount, { set, clear, propagation: PROPAGATION.private }, true, why);
    }
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
