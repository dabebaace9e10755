/**
 * A further process in a running container, from the fork to execve: what is the same for the daemon's shim and for the
 * runtime's command line. Pure.
 *
 * The parent enters the container's pid namespace for its children only, through a pidfd; its one child joins the control
 * groups by their paths on the host, then everything else of the container at once, and goes the same last steps as a
 * container's first process. Nothing of the host is open in it by then but what execve closes.
 */
import type { Label, Register } from "#program/types.ts";
import { type CgroupOwner, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { joinCgroups, openGroup } from "#runtime/compile/cgroup-setup.ts";
import type { ChildFrame } from "#runtime/compile/container-child.ts";
import { INSIDE } from "#runtime/compile/inside-root.ts";
import { CLONE } from "#runtime/compile/kernel-constants.ts";
import { takeLabels } from "#runtime/compile/labels.ts";
import { adjustOomScore, raiseLimits, startProcess } from "#runtime/compile/process-start.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { setCpuAffinity } from "#runtime/compile/scheduling.ts";
import { NOTE } from "#runtime/compile/shim-frame.ts";
import { makeTerminal } from "#runtime/compile/terminal.ts";
import {
  checkMapped,
  groupsIn,
  hostId,
  hostInside,
  planUserNamespace,
} from "#runtime/compile/user-namespace.ts";
import { becomeNamespaceRoot } from "#runtime/compile/user-namespace-entry.ts";
import type { ExecParts } from "#runtime/launch-types.ts";
import type { NamespaceType } from "#runtime/spec-types.ts";

/** The parent's side: takes hold of the container and forks. */
export function forkForContainer(
  w: ProgramWriter,
  parts: ExecParts,
  child: Label,
): { pid: Register; container: Register } {
  const { b } = w;
  const container = b.register("container's first process");
  b.sys("pidfd_open", [parts.pid, 0], { into: container, why: `take hold of process ${parts.pid}` });
  const rootless = parts.rootless !== undefined;
  if (rootless && isListed(parts, "user")) {
    // Only there is there a right to the other ones.
    b.sys("setns", [container, CLONE.NEWUSER], { why: "join the container's user namespace" });
  }
  if (!rootless || isListed(parts, "pid")) {
    b.sys("setns", [container, CLONE.NEWPID], { why: "join the container's pid namespace" });
  }
  const grouped = parts.cgroups.version === 2 && cgroupDirectories(parts.cgroups, ownerOf(parts)).length > 0;
  const group = grouped ? b.register("control group") : undefined;
  if (group !== undefined) openGroup(w, parts.cgroups, ownerOf(parts), undefined, group);
  // The child has it from here; whoever is born in a group is in it with the first instruction.
  setCpuAffinity(w, parts.process, "initial");
  const pid = b.register("pid");
  b.fork({ flags: 0, into: pid, child, ...(group !== undefined && { cgroup: group }), why: "fork" });
  if (group !== undefined) w.close(group);
  b.notify(NOTE.CREATED, pid);
  return { pid, container };
}

function ownerOf({ spec, containerId, cgroupOwner }: ExecParts): CgroupOwner {
  return cgroupOwner ?? (spec.linux?.cgroupsPath || containerId);
}

/** Writes all of the child; nothing comes after. */
export function writeExecChild(
  w: ProgramWriter,
  parts: ExecParts,
  container: Register,
  frame: Pick<
    ChildFrame,
    "begin" | "terminal" | "takeStdio" | "endsWithParent" | "preserveFds" | "announceListener"
  > & {
    /** Makes what is handed down, where it can be, a user's: as the calling process knows him. */
    giveStdio(uid: number): void;
  },
): void {
  const { b } = w;
  const { process, spec, host } = parts;
  const rootless = parts.rootless !== undefined;
  frame.begin();
  b.sys("setsid", [], { why: "begin a session" });
  joinCgroups(w, parts.cgroups, ownerOf(parts));
  adjustOomScore(w, process, rootless || (host.inUserNamespace ?? false));
  setCpuAffinity(w, process, "final");
  takeLabels(w, process);
  const user = planUserNamespace(spec, parts.rootless);
  if (user !== undefined) checkMapped(user, process);
  if (user !== undefined && !rootless) {
    raiseLimits(w, process);
    const owner = hostId(user.uidMappings, process.user.uid);
    if (owner !== undefined) frame.giveStdio(owner);
  }
  joinContainer(w, parts, container);
  if (user !== undefined) becomeNamespaceRoot(w);
  if (user === undefined || rootless) frame.giveStdio(process.user.uid);
  frame.takeStdio(openTerminal(w, frame.terminal));
  startProcess(w, {
    process,
    argv: process.args ?? [],
    seccomp: spec.linux?.seccomp,
    personality: spec.linux?.personality,
    host: user === undefined ? host : hostInside(host),
    groups: groupsIn(user),
    id: parts.containerId,
    endsWithParent: frame.endsWithParent,
    preserveFds: frame.preserveFds ?? 0,
    ...(frame.announceListener && { announceListener: frame.announceListener }),
  });
}

function isListed({ spec }: ExecParts, wanted: NamespaceType): boolean {
  return spec.linux?.namespaces?.some(({ type }) => type === wanted) ?? false;
}

/**
 * All at once: the kernel switches either to all of them or to none. The host's root also joins those that
 * are the host's, be they his own or not; nobody else can, nor has to, since they are his own.
 */
function joinContainer(w: ProgramWriter, parts: ExecParts, container: Register): void {
  const rootless = parts.rootless !== undefined;
  const limited = rootless || (parts.host.inUserNamespace ?? false);
  const flag = (type: NamespaceType, value: number, always = false) =>
    isListed(parts, type) || (always && !limited) ? value : 0;
  const flags =
    CLONE.NEWNS |
    flag("network", CLONE.NEWNET, true) |
    flag("ipc", CLONE.NEWIPC, true) |
    flag("uts", CLONE.NEWUTS, true) |
    flag("cgroup", CLONE.NEWCGROUP, true) |
    flag("time", CLONE.NEWTIME) |
    (rootless ? 0 : flag("user", CLONE.NEWUSER));
  w.b.sys("setns", [container, flags], { why: "join the container's namespaces" });
}

/** In the container's devpts. What else may lie under that name fails the first request that only a terminal knows. */
function openTerminal(w: ProgramWriter, terminal: ChildFrame["terminal"]): Register | undefined {
  if (terminal === undefined) return undefined;
  const { b, O } = w;
  const slave = b.register("terminal");
  w.borrow((root) => {
    w.open("/", O.PATH | O.DIRECTORY, root, "open /");
    w.borrow((master) => {
      const flags = O.RDWR | O.NOCTTY | O.NONBLOCK;
      const why = "open a terminal in the container's devpts";
      w.openUnder(root, "dev/pts/ptmx", { flags, resolve: INSIDE, into: master, why });
      makeTerminal(w, master, terminal.send, slave, terminal.size);
    });
    w.close(root);
  });
  return slave;
}
