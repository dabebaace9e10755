/**
 * Writes to files of procfs from inside the container's namespaces: only ever through a procfs of our own, by
 * descriptor, and never across a mount that lies in it. A false /proc in the image or in a volume is not looked at.
 */
import { BerthError } from "#errors/errors.ts";
import type { Register } from "#program/types.ts";
import { RESOLVE } from "#runtime/compile/kernel-constants.ts";
import type { Mounted } from "#runtime/compile/mount-points.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { NamespaceType, Spec } from "#runtime/spec-types.ts";

const { BENEATH, NO_MAGICLINKS, NO_XDEV } = RESOLVE;

/** A procfs of our own: the container's, or one that is mounted nowhere. */
export function ownProc(w: ProgramWriter, mounted: Mounted): Register {
  if (mounted.proc !== undefined) return mounted.proc;
  const proc = w.b.register("proc");
  w.newMount({ type: "proc", source: "proc", parameters: [], attributes: 0 }, proc, "mount proc for own use");
  mounted.proc = proc;
  return proc;
}

/** Writes `text` to a file below procfs ("sys/net/ipv4/ip_forward"). */
export function writeProc(w: ProgramWriter, proc: Register, path: string, text: string, why: string): void {
  w.borrow((fd) => {
    w.openUnder(proc, path, { flags: w.O.WRONLY, resolve: BENEATH | NO_MAGICLINKS | NO_XDEV, into: fd, why });
    w.writeText(fd, text, why);
    w.close(fd);
  });
}

const ipcSysctls = new Set(
  "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split(" ").map((name) => `kernel/${name}`),
);

/**
 * Sysctls as paths below /proc/sys. Throws "invalid" for one that does not belong to a namespace of the container: it
 * would be the host's.
 */
export function planSysctls(spec: Spec): { path: string; value: string }[] {
  const has = (type: NamespaceType) =>
    spec.linux?.namespaces?.some((namespace) => namespace.type === type) ?? false;
  return Object.entries(spec.linux?.sysctl ?? {}).map(([name, value]) => {
    // A slash in a name stands for the dot of an interface such as "eth0.100".
    const path = name.includes("/") && !name.includes(".") ? name : swapSeparators(name);
    let owner: NamespaceType | undefined;
    if (path.startsWith("net/")) owner = "network";
    else if (ipcSysctls.has(path) || path.startsWith("fs/mqueue/")) owner = "ipc";
    else if (path === "kernel/domainname") owner = "uts";
    if (owner === undefined || path.includes("..")) {
      throw refuse(`sysctl "${name}" is not in a separate kernel namespace`);
    }
    if (!has(owner)) throw refuse(`sysctl "${name}" not allowed in host ${owner} namespace`);
    return { path, value };
  });
}

function swapSeparators(name: string): string {
  return name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "compile container",
    hint: "only sysctls of the container's own network, ipc and uts namespaces can be set",
  });
}
