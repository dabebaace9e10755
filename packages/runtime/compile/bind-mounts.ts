/**
 * Bind mounts: what they show is taken hold of by descriptor while the mount namespace is still a copy of the host's, given
 * its attributes, and only then put into the container. Pure.
 */
import type { Register } from "#program/types.ts";
import { applyIdMap } from "#runtime/compile/id-mapped-mounts.ts";
import { INSIDE, openDirectory, openFile } from "#runtime/compile/inside-root.ts";
import { CLONE, ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { PlannedMount } from "#runtime/compile/mount-plan.ts";
import { lookup, type Mounted } from "#runtime/compile/mount-points.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { type MountOptions, PROPAGATION } from "#runtime/mount-options.ts";

/** A source with shared propagation stays a peer of the host's mount only if it is taken before that is cut off. */
export function takeBindSources(w: ProgramWriter, mounts: readonly PlannedMount[]): void {
  for (const mount of mounts) {
    if (mount.type !== "bind") continue;
    const why = `bind mount source path ${mount.source}`;
    mount.slot = w.b.scratch(4, 4);
    const slot = mount.slot;
    w.borrow((tree) => {
      const take = () => {
        if (mount.subpath) takePart(w, mount, tree);
        else w.cloneTree(mount.source, mount.options.recursive, tree, why);
      };
      if (mount.mountNamespace === undefined) take();
      else takeElsewhere(w, mount.mountNamespace, take);
      if (mount.idMap !== undefined) applyIdMap(w, mount.idMap, tree, mount.source);
      w.b.store(tree, slot, 4);
    });
  }
}

/** Only who is in a mount namespace can copy a mount of it; the copy belongs to none. */
function takeElsewhere(w: ProgramWriter, namespace: string, take: () => void): void {
  const enter = (fd: Register, why: string) => w.b.sys("setns", [fd, CLONE.NEWNS], { why });
  w.borrow((own) => {
    w.open("/proc/self/ns/mnt", w.O.RDONLY, own, "hold the mount namespace");
    w.borrow((other) => {
      const why = `join mount namespace ${namespace}`;
      w.open(namespace, w.O.RDONLY, other, why);
      enter(other, why);
      w.close(other);
    });
    take();
    enter(own, "return to the mount namespace");
    w.close(own);
  });
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

/** A directory goes onto a directory, all else onto a file; either is made if it is missing. */
export function bindMount(w: ProgramWriter, mount: PlannedMount, mounted: Mounted): void {
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
  const { attributes, recursiveAttributes: deep } = options;
  const usual = [{ flag: PROPAGATION.private, recursive: true }];
  for (const { flag, recursive } of options.propagation.length > 0 ? options.propagation : usual) {
    w.setMountAttributes(tree, { propagation: flag }, recursive, `${why}: propagation`);
  }
  if (deep.set !== 0 || deep.clear !== 0) {
    w.setMountAttributes(tree, deep, true, `${why}: recursive options`);
  }
  if (attributes.set !== 0 || attributes.clear !== 0) {
    w.setMountAttributes(tree, attributes, false, `${why}: options`);
  }
}
