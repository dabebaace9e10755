/**
 * Who the process is and what it may do: groups, user, capabilities, no-new-privileges, system call filter; and the way
 * there, which has one right order.
 *
 * The filter comes as late as it can. Without no-new-privileges its installation needs CAP_SYS_ADMIN, so the last set of
 * capabilities is taken behind it, and nothing but that and execve has to be allowed by a profile.
 */
import type { Register } from "#program/types.ts";
import { capabilityMask } from "#runtime/capabilities.ts";
import { availableCapabilities } from "#runtime/compile/check-process.ts";
import { ERRNO, PR, SECCOMP_SET_MODE_FILTER, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import { compileFilter, notifies } from "#runtime/seccomp/compile-filter.ts";
import type { CapabilitySet, SpecProcess, SpecSeccomp } from "#runtime/spec-types.ts";

/** _LINUX_CAPABILITY_VERSION_3 */
const CAPABILITY_VERSION = 0x2008_0522;
const CAP_SYS_ADMIN = 1n << 21n;

/** What of a start decides on it. */
export interface IdentityPlan {
  process: SpecProcess;
  seccomp: SpecSeccomp | undefined;
  host: HostFacts;
  /** In a user namespace the groups may be fixed ("leave"), or nobody knows ("try"). */
  groups?: "set" | "try" | "leave";
  /** Dies when its parent does. */
  endsWithParent: boolean;
  /** Written where user and capabilities are final; and the filter is not there yet, unless it notifies. */
  beforeFilter?(): void;
  /** Written behind a filter that notifies: its listener has to get to who is to be notified. */
  announceListener?(listener: Register): void;
}

export function takeIdentity(w: ProgramWriter, plan: IdentityPlan): void {
  const { b } = w;
  const { process, seccomp, host } = plan;
  const available = availableCapabilities(host);
  const mask = (set: CapabilitySet) =>
    capabilityMask(process.capabilities?.[set] ?? [], host.lastCapability) & available;
  const permitted = mask("permitted");
  const sets = { effective: mask("effective") & permitted, permitted, inheritable: mask("inheritable") };
  // The kernel has ambient ones only among the permitted and inheritable; others are passed over, as runc does.
  const ambient = mask("ambient") & sets.permitted & sets.inheritable;
  const { uid, gid, additionalGids = [] } = process.user;

  dropFromBounding(w, mask("bounding"), host.lastCapability);
  setGroups(w, additionalGids, plan.groups ?? "set");
  if (uid !== 0)
    b.sys("prctl", [PR.SET_KEEPCAPS, 1, 0, 0, 0], { why: "keep capabilities over the change of user" });
  b.sys("setresgid", [gid, gid, gid], { why: `become group ${gid}` });
  b.sys("setresuid", [uid, uid, uid], { why: `become user ${uid}` });
  // The change of user took the effective ones, and the death signal.
  if (uid !== 0 && seccomp !== undefined && !process.noNewPrivileges) {
    const enough = { effective: CAP_SYS_ADMIN, permitted: permitted | CAP_SYS_ADMIN, inheritable: 0n };
    setCapabilities(w, enough, "keep what installing the filter needs");
  }
  if (plan.endsWithParent) b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the shim" });
  const privileged = !process.noNewPrivileges;
  if (!privileged) {
    b.sys("prctl", [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0], { why: "give up new privileges" });
    setAllCapabilities(w, sets, ambient);
  }
  // Who is to be notified gets the listener from a parent that is there until the container is complete, not longer.
  const early = seccomp !== undefined && notifies(seccomp);
  if (!early) plan.beforeFilter?.();
  if (seccomp !== undefined) installFilter(w, seccomp, plan);
  if (privileged) setAllCapabilities(w, sets, ambient);
  if (early) plan.beforeFilter?.();
}

function dropFromBounding(w: ProgramWriter, bounding: bigint, last: number): void {
  for (let number = 0; number <= last; number++) {
    if ((bounding & (1n << BigInt(number))) !== 0n) continue;
    w.b.sys("prctl", [PR.CAPBSET_DROP, number, 0, 0, 0], { why: `drop capability ${number} for good` });
  }
}

function setGroups(w: ProgramWriter, groups: readonly number[], how: "set" | "try" | "leave"): void {
  if (how === "leave") return;
  const list = new Uint8Array(Math.max(groups.length, 1) * 4);
  const view = new DataView(list.buffer);
  groups.forEach((group, index) => {
    view.setUint32(index * 4, group, true);
  });
  w.b.sys("setgroups", [groups.length, w.b.bytes(list)], {
    ...(how === "try" && groups.length === 0 && { ignore: ERRNO.EPERM }),
    why: "set supplementary groups",
  });
}

interface Sets {
  effective: bigint;
  permitted: bigint;
  inheritable: bigint;
}

function setAllCapabilities(w: ProgramWriter, sets: Sets, ambient: bigint): void {
  const { b } = w;
  setCapabilities(w, sets, "set capabilities");
  // A new process has none; whatever launched the launcher may have had some.
  b.sys("prctl", [PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL, 0, 0, 0], { why: "clear ambient capabilities" });
  for (let number = 0; ambient >> BigInt(number) !== 0n; number++) {
    if ((ambient & (1n << BigInt(number))) === 0n) continue;
    b.sys("prctl", [PR.CAP_AMBIENT, PR.CAP_AMBIENT_RAISE, number, 0, 0], {
      why: `raise ambient capability ${number}`,
    });
  }
}

function setCapabilities(w: ProgramWriter, { effective, permitted, inheritable }: Sets, why: string): void {
  const header = w.constant({ width: 4, value: CAPABILITY_VERSION }, { width: 4, value: 0 });
  const half = (set: bigint, upper: boolean) => ({
    width: 4 as const,
    value: (upper ? set >> 32n : set) & 0xffff_ffffn,
  });
  const data = w.constant(
    half(effective, false),
    half(permitted, false),
    half(inheritable, false),
    half(effective, true),
    half(permitted, true),
    half(inheritable, true),
  );
  w.b.sys("capset", [header, data], { why });
}

function installFilter(w: ProgramWriter, seccomp: SpecSeccomp, plan: IdentityPlan): void {
  const { b } = w;
  const filter = compileFilter(seccomp, plan.host.architecture);
  // struct sock_fprog: count, padding, pointer.
  const content = new Uint8Array(16);
  new DataView(content.buffer).setUint16(0, filter.count, true);
  const program = b.struct(content, [{ at: 8, to: b.bytes(filter.instructions) }]);
  const why = "install the system call filter";
  const args = [SECCOMP_SET_MODE_FILTER, filter.flags, program];
  if (!filter.notifies) {
    b.sys("seccomp", args, { why });
    return;
  }
  w.borrow((listener) => {
    b.sys("seccomp", args, { into: listener, why });
    plan.announceListener?.(listener);
  });
}
