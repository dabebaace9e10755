/**
 * `linux.sysctl` (config-linux.md): which may be set, and where they lie. Only what belongs to a namespace of the
 * container: everything else would be the host's. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { NamespaceType, Spec } from "#runtime/spec-types.ts";

const ipcSysctls = new Set(
  "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split(" ").map((name) => `kernel.${name}`),
);

/** As paths below /proc/sys. Throws "invalid" for one that is not to be set, in the words that runc has for it. */
export function planSysctls(spec: Spec): { path: string; value: string }[] {
  return Object.entries(spec.linux?.sysctl ?? {}).map(([given, value]) => {
    const name = withDots(given);
    checkNamespace(spec, name);
    if (typeof value !== "string")
      throw refuse(`sysctl ${JSON.stringify(name)} must have a string for value`);
    return { path: swapSeparators(name), value };
  });
}

function checkNamespace(spec: Spec, name: string): void {
  const has = (type: NamespaceType) =>
    spec.linux?.namespaces?.some((namespace) => namespace.type === type) ?? false;
  const quoted = JSON.stringify(name);
  const path = swapSeparators(name);
  if (path.split("/").some((part) => part === "" || part === "." || part === ".."))
    throw refuse(`sysctl ${quoted} is not in a separate kernel namespace`);
  if (ipcSysctls.has(name) || name.startsWith("fs.mqueue.")) {
    if (has("ipc")) return;
    throw refuse(`sysctl ${quoted} is not allowed in the hosts ipc namespace`);
  }
  if (name.startsWith("net.")) {
    if (has("network")) return;
    throw refuse(`sysctl ${quoted} not allowed in host network namespace`);
  }
  for (const field of ["hostname", "domainname"] as const) {
    if (name !== `kernel.${field}` || !has("uts")) continue;
    // A domain name by sysctl is older than the field for it.
    if (field === "domainname" && !spec.domainname) return;
    throw refuse(`sysctl ${quoted} is not allowed as it conflicts with the OCI "${field}" field`);
  }
  throw refuse(`sysctl ${quoted} is not in a separate kernel namespace`);
}

/** sysctl(8): where the first separator is a slash, slashes separate, and a dot is part of a name ("eth0.100"). */
function withDots(name: string): string {
  return /^[^./]*\//.test(name) ? swapSeparators(name) : name;
}

function swapSeparators(name: string): string {
  return name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", `linux.sysctl: ${message}`, {
    operation: "compile container",
    hint: "only sysctls of the container's own network, ipc and uts namespaces can be set",
  });
}
