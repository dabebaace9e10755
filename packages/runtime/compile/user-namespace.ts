/**
 * The user namespace of a container (config-linux.md, "User namespace mappings"): new or joined, which ids are mapped, and
 * who may write the mappings down. Decides and checks only; the steps are in user-namespace-entry.ts. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { Spec, SpecIdMapping, SpecProcess } from "#runtime/spec-types.ts";

/** As many lines as the kernel takes in a map (user_namespaces(7)). */
const MAX_MAPPINGS = 340;
const MAX_ID = 0xffff_ffff;

/** The ids of a caller without root's rights on the host. */
export interface RootlessCaller {
  uid: number;
  gid: number;
}

export interface UserNamespacePlan {
  /** Joined by this path; undefined for a new one. */
  path: string | undefined;
  /** Those of a joined one as far as the configuration tells them. */
  uidMappings: readonly SpecIdMapping[];
  gidMappings: readonly SpecIdMapping[];
  /** Nothing can be done with root's rights before the namespace is entered. */
  rootless: boolean;
  /** The kernel takes the mappings only from newuidmap and newgidmap, which the command line runs. */
  byTools: boolean;
  /** Groups cannot be set in it, ever: the price of mappings without any privilege. */
  fixedGroups: boolean;
}

/** Throws "invalid", naming the field. `rootless` is undefined with root's rights. */
export function planUserNamespace(
  spec: Spec,
  rootless: RootlessCaller | undefined,
): UserNamespacePlan | undefined {
  const listed = spec.linux?.namespaces?.find(({ type }) => type === "user");
  const uidMappings = spec.linux?.uidMappings ?? [];
  const gidMappings = spec.linux?.gidMappings ?? [];
  if (listed === undefined) return undefined;
  const path = listed.path || undefined;
  if (path !== undefined) {
    for (const [name, mappings] of Object.entries({ uidMappings, gidMappings })) {
      if (mappings.length !== 0) checkMappings(`linux.${name}`, mappings);
    }
    const known = { uidMappings, gidMappings, byTools: false, fixedGroups: false };
    return { ...known, path, rootless: rootless !== undefined };
  }
  checkMappings("linux.uidMappings", uidMappings);
  checkMappings("linux.gidMappings", gidMappings);
  for (const [name, mappings] of Object.entries({ uidMappings, gidMappings })) {
    if (hostId(mappings, 0) === undefined)
      throw refuse(`linux.${name}: the container's root (0) is not mapped to anybody`);
  }
  const alone =
    rootless !== undefined && isSelf(uidMappings, rootless.uid) && isSelf(gidMappings, rootless.gid);
  return {
    path,
    uidMappings,
    gidMappings,
    rootless: rootless !== undefined,
    byTools: rootless !== undefined && !alone,
    fixedGroups: alone,
  };
}

/** Whether supplementary groups can be set there; of a joined one nobody knows. */
export function groupsIn(user: UserNamespacePlan | undefined): "set" | "try" | "leave" {
  if (user === undefined) return "set";
  if (user.path !== undefined) return "try";
  return user.fixedGroups ? "leave" : "set";
}

/** Whoever enters a user namespace has every capability in it, whatever he had outside. */
export function hostInside(host: HostFacts): HostFacts {
  const { availableCapabilities: _, ...facts } = host;
  return facts;
}

/** Nobody but the caller: the one mapping that needs no right at all. */
function isSelf(mappings: readonly SpecIdMapping[], id: number): boolean {
  const [only] = mappings;
  return mappings.length === 1 && only?.size === 1 && only.hostID === id;
}

/** The host's id of one of a namespace's; undefined if it is nobody there. */
export function hostId(mappings: readonly SpecIdMapping[], id: number): number | undefined {
  for (const { containerID, hostID, size } of mappings) {
    if (id >= containerID && id < containerID + size) return hostID + (id - containerID);
  }
  return undefined;
}

/** Lines for uid_map and gid_map. */
export function mapText(mappings: readonly SpecIdMapping[]): string {
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");
}

/** Throws "invalid" for what the kernel would refuse without a word about where. */
export function checkMappings(field: string, mappings: readonly SpecIdMapping[]): void {
  if (!Array.isArray(mappings)) throw refuse(`${field}: must be a list`);
  if (mappings.length === 0) throw refuse(`${field}: user namespaces enabled, but no mappings found`);
  if (mappings.length > MAX_MAPPINGS)
    throw refuse(`${field}: ${mappings.length} mappings, the kernel takes ${MAX_MAPPINGS} at most`);
  mappings.forEach((mapping: Partial<SpecIdMapping> | null, index) => {
    for (const name of ["containerID", "hostID", "size"] as const) {
      const value = mapping?.[name];
      const least = name === "size" ? 1 : 0;
      if (!Number.isInteger(value) || Number(value) < least || Number(value) > MAX_ID)
        throw refuse(`${field}[${index}].${name}: ${JSON.stringify(value)} is not a number from ${least} on`);
    }
  });
  mappings.forEach((mapping, index) => {
    for (const name of ["containerID", "hostID"] as const) {
      if (mapping[name] + mapping.size - 1 > MAX_ID)
        throw refuse(`${field}[${index}]: goes beyond the highest ${name}`);
      const other = mappings.findIndex((before, at) => at < index && overlap(before, mapping, name));
      if (other >= 0) throw refuse(`${field}[${index}]: has ids of ${field}[${other}] in it (${name})`);
    }
  });
}

function overlap(one: SpecIdMapping, other: SpecIdMapping, name: "containerID" | "hostID"): boolean {
  return one[name] < other[name] + other.size && other[name] < one[name] + one.size;
}

/** Whoever the process is to be must be somebody in the namespace. Throws "invalid", naming the field. */
export function checkMapped(plan: UserNamespacePlan, { user }: SpecProcess): void {
  const { uid, gid, additionalGids = [] } = user;
  if (plan.fixedGroups && additionalGids.length > 0) {
    throw refuse("process.user.additionalGids: cannot set any additional groups in a rootless container");
  }
  if (plan.path !== undefined) return;
  const check = (name: string, id: number, field: "uidMappings" | "gidMappings") => {
    if (hostId(plan[field], id) === undefined)
      throw refuse(`process.user.${name}: ${id} is not mapped by linux.${field}`);
  };
  check("uid", uid, "uidMappings");
  check("gid", gid, "gidMappings");
  additionalGids.forEach((id, index) => {
    check(`additionalGids[${index}]`, id, "gidMappings");
  });
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "compile container", object: "user namespace" });
}
