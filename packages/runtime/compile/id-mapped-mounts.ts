/**
 * Id-mapped mounts (config.md, "Mounts", uidMappings and gidMappings; options `idmap` and `ridmap`): files show in the
 * container with other owners than they have. The kernel takes the mapping as a user namespace, which is made for it by a
 * process that does nothing else, and that is gone before the container is forked. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { DataRef, Register } from "#program/types.ts";
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  CLONE,
  MOUNT_ATTR_IDMAP,
  WALL,
} from "#runtime/compile/kernel-constants.ts";
import type { PlannedMount } from "#runtime/compile/mount-plan.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { checkMappings, type UserNamespacePlan } from "#runtime/compile/user-namespace.ts";
import { withProcess, writeMappings } from "#runtime/compile/user-namespace-entry.ts";
import type { MountOptions } from "#runtime/mount-options.ts";
import type { SpecIdMapping, SpecMount } from "#runtime/spec-types.ts";

/** The label by which explain.ts knows the step. */
export const IDMAP_LABEL = "id-map mount";

export interface IdMap {
  /** The mount's own mappings; without any, it has those of the container. */
  own: Mappings | undefined;
  /** Also what is mounted below. */
  recursive: boolean;
  /** Names the mount in errors: "mounts[3]". */
  field: string;
  /** Where the descriptor of the user namespace is kept. */
  slot?: DataRef;
}

interface Mappings {
  uidMappings: readonly SpecIdMapping[];
  gidMappings: readonly SpecIdMapping[];
}

/** Throws "invalid", naming the field. */
export function planIdMap(
  { uidMappings, gidMappings }: SpecMount,
  options: MountOptions,
  field: string,
): IdMap | undefined {
  const given = [uidMappings, gidMappings].filter((mappings) => (mappings?.length ?? 0) > 0).length;
  if (given === 0 && options.idMap === undefined) return undefined;
  if (!options.bind || options.remount) {
    throw refuse(`${field}: id-mapped mounts are only supported for bind mounts`);
  }
  const recursive = options.idMap === "tree";
  if (given === 0) return { own: undefined, recursive, field };
  if (uidMappings === undefined || gidMappings === undefined || given === 1) {
    throw refuse(`${field}: an id-mapped mount needs both uidMappings and gidMappings`);
  }
  checkMappings(`${field}.uidMappings`, uidMappings);
  checkMappings(`${field}.gidMappings`, gidMappings);
  return { own: { uidMappings, gidMappings }, recursive, field };
}

/** What only the container as a whole decides. Throws "invalid". */
export function checkIdMaps(
  mounts: readonly PlannedMount[],
  user: UserNamespacePlan | undefined,
  rootless: boolean,
): void {
  for (const { idMap } of mounts) {
    if (idMap === undefined) continue;
    if (rootless) throw refuse(`${idMap.field}: id-mapped mounts need root's rights on the host`);
    if (idMap.own === undefined && user === undefined) {
      throw refuse(`${idMap.field}: "idmap" needs mappings, of the mount itself or of a user namespace`);
    }
  }
}

/** In the container's parent, before the fork: makes what the mappings are told by. Each once, however many mounts have it. */
export function makeIdMaps(
  w: ProgramWriter,
  mounts: readonly PlannedMount[],
  user: UserNamespacePlan | undefined,
): void {
  const made = new Map<string, DataRef>();
  for (const { idMap } of mounts) {
    if (idMap === undefined) continue;
    const mappings = idMap.own ?? user;
    const key = idMap.own === undefined && user?.path ? user.path : JSON.stringify(only(mappings));
    let slot = made.get(key);
    if (slot === undefined) {
      const room = w.b.scratch(4, 4);
      slot = room;
      made.set(key, room);
      w.borrow((namespace) => {
        if (idMap.own === undefined && user?.path) {
          w.open(user.path, w.O.RDONLY, namespace, `open user namespace ${user.path}`);
        } else makeNamespace(w, only(mappings), namespace, idMap.field);
        w.b.store(namespace, room, 4);
      });
    }
    idMap.slot = slot;
  }
}

function only(mappings: Mappings | undefined): Mappings {
  const { uidMappings = [], gidMappings = [] } = mappings ?? {};
  return { uidMappings, gidMappings };
}

/** A process in a new user namespace waits until that is mapped and held, which it is told by the end of a pipe. */
function makeNamespace(w: ProgramWriter, mappings: Mappings, into: Register, field: string): void {
  const { b, O } = w;
  const why = `make the user namespace for the mappings of ${field}`;
  const holder = b.label(`hold the mappings of ${field}`);
  const made = b.label(`have the mappings of ${field}`);
  w.borrow((wait) => {
    w.borrow((release) => {
      w.pipe(wait, release, why);
      w.borrow((pid) => {
        b.fork({ flags: CLONE.NEWUSER, into: pid, child: holder, why });
        writeMappings(w, pid, mappings);
        withProcess(w, pid, (directory) => {
          b.sys("openat", [directory, b.cstr("ns/user"), O.RDONLY | O.CLOEXEC, 0], { into, why });
        });
        w.close(release);
        b.sys("wait4", [pid, 0, WALL, 0], { why: `${why}: see its process off` });
        w.close(wait);
      });
      b.jump(made);
      b.place(holder);
      w.close(release);
      b.barrier(wait, why);
      b.exit(0);
      b.place(made);
    });
  });
}

/** In the parent, after the fork. */
export function closeIdMaps(w: ProgramWriter, mounts: readonly PlannedMount[]): void {
  const slots = new Set(mounts.map(({ idMap }) => idMap?.slot).filter((slot) => slot !== undefined));
  for (const slot of slots) {
    w.borrow((namespace) => {
      w.b.load(namespace, slot, 4);
      w.close(namespace);
    });
  }
}

/** To a mount that isn't attached anywhere yet. */
export function applyIdMap(
  w: ProgramWriter,
  { recursive, slot }: IdMap,
  tree: Register,
  source: string,
): void {
  if (slot === undefined) throw new Error(`the id mapping of ${source} was not made`);
  const { b } = w;
  // struct mount_attr: set, clear, propagation, userns_fd.
  const content = new Uint8Array(32);
  new DataView(content.buffer).setBigUint64(0, BigInt(MOUNT_ATTR_IDMAP), true);
  const attributes = b.bytes(content, 8);
  w.borrow((namespace) => {
    b.load(namespace, slot, 4);
    b.store(namespace, b.slice(attributes, 24, 8), 8);
  });
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  b.sys("mount_setattr", [tree, b.cstr(""), flags, attributes, attributes.length], {
    why: `${IDMAP_LABEL} ${source}`,
  });
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "compile container" });
}
