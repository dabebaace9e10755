/** Which namespaces are new, which are joined, and which stay the host's. Pure. */
import { BerthError } from "#errors/errors.ts";
import { CLONE } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { NamespaceType, Spec } from "#runtime/spec-types.ts";

const flags: Record<NamespaceType, number> = {
  mount: CLONE.NEWNS,
  pid: CLONE.NEWPID,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  user: CLONE.NEWUSER,
  cgroup: CLONE.NEWCGROUP,
  time: CLONE.NEWTIME,
};

export interface NamespacePlan {
  /** For clone3. Not the cgroup namespace, which is made once the process is in its group, nor the user namespace. */
  cloneFlags: number;
  /** To be entered by path; the user namespace is not among them. */
  joined: { type: NamespaceType; path: string; flag: number }[];
  isNew(type: NamespaceType): boolean;
}

/** Throws "invalid" or "not-implemented" for combinations that cannot be. */
export function planNamespaces(spec: Spec): NamespacePlan {
  const listed = new Map<NamespaceType, string>();
  for (const { type, path = "" } of spec.linux?.namespaces ?? []) {
    if (!Object.hasOwn(flags, type))
      throw refuse("invalid", `unknown namespace type ${JSON.stringify(type)}`);
    if (listed.has(type)) throw refuse("invalid", `duplicated namespace ${type}`);
    listed.set(type, path);
  }
  if (listed.get("mount") !== "") {
    throw refuse("not-implemented", "a container needs a mount namespace of its own");
  }
  if (spec.linux?.timeOffsets && listed.get("time") !== "") {
    throw refuse("invalid", "time offsets need a time namespace of the container's own");
  }
  let cloneFlags = 0;
  const joined: NamespacePlan["joined"] = [];
  for (const [type, path] of listed) {
    // The way into a user namespace is one of its own: user-namespace-entry.ts.
    if (type === "user") continue;
    if (path !== "") joined.push({ type, path, flag: flags[type] });
    else if (type !== "cgroup" && type !== "time") cloneFlags |= flags[type];
  }
  return { cloneFlags, joined, isNew: (type) => listed.get(type) === "" };
}

function refuse(code: "invalid" | "not-implemented", message: string): BerthError {
  return new BerthError(code, message, { operation: "compile container", object: "namespaces" });
}

/**
 * In the shim, before the fork: the pid namespace is entered by children only, and so is a new time namespace, whose
 * offsets must be written before the first process is in it.
 */
export function prepareForChild(w: ProgramWriter, plan: NamespacePlan, spec: Spec): void {
  const { b } = w;
  for (const { type, path, flag } of plan.joined) {
    if (type === "pid" || type === "time") joinByPath(w, type, path, flag);
  }
  if (!plan.isNew("time")) return;
  b.sys("unshare", [CLONE.NEWTIME], { why: "make a time namespace" });
  const offsets = Object.entries(spec.linux?.timeOffsets ?? {});
  if (offsets.length === 0) return;
  const text = offsets
    .map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`)
    .join("");
  w.writeFile("/proc/self/timens_offsets", text, "set time offsets");
}

/** In the child, before anything else that depends on them. */
export function joinNamespaces(w: ProgramWriter, plan: NamespacePlan): void {
  for (const { type, path, flag } of plan.joined) {
    if (type !== "pid" && type !== "time") joinByPath(w, type, path, flag);
  }
}

function joinByPath(w: ProgramWriter, type: NamespaceType, path: string, flag: number): void {
  const why = `join ${type} namespace ${path}`;
  w.borrow((fd) => {
    w.open(path, w.O.RDONLY, fd, why);
    w.b.sys("setns", [fd, flag === CLONE.NEWTIME ? 0 : flag], { why });
    w.close(fd);
  });
}
