/**
 * The container's first process, from its fork to execve: it joins the control groups, builds the file system, waits for
 * what its parent does meanwhile, hides what is to be hidden, changes the root, and becomes the configured program.
 *
 * Who its parent is (the daemon's shim, or the OCI command line's launcher) shows in a ChildFrame only.
 */
import type { Register } from "#program/types.ts";
import { takeBindSources } from "#runtime/compile/bind-mounts.ts";
import { joinCgroups } from "#runtime/compile/cgroup-setup.ts";
import { type ContainerPlan, INIT_PATH } from "#runtime/compile/container-plan.ts";
import { makeDevices, mountConsole } from "#runtime/compile/device-nodes.ts";
import { maskPaths, protectPaths } from "#runtime/compile/hidden-paths.ts";
import { cleanPath, INSIDE, openDirectory } from "#runtime/compile/inside-root.ts";
import { CLONE, MS } from "#runtime/compile/kernel-constants.ts";
import { labelsForExec, takeLabels } from "#runtime/compile/labels.ts";
import { setMemoryPolicy } from "#runtime/compile/memory-policy.ts";
import type { Mounted } from "#runtime/compile/mount-points.ts";
import { closeToWriting, mountAll } from "#runtime/compile/mounts.ts";
import { joinNamespaces, prepareForChild } from "#runtime/compile/namespaces.ts";
import { loopbackUp, sendRequests } from "#runtime/compile/network-setup.ts";
import { ownProc, writeProc } from "#runtime/compile/proc-files.ts";
import { adjustOomScore, raiseLimits, startProcess } from "#runtime/compile/process-start.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { joinRdtGroup } from "#runtime/compile/resource-director.ts";
import { attachRoot, mountRoot, moveTo, pivotTo, takeRoot } from "#runtime/compile/root-file-system.ts";
import { makeTerminal } from "#runtime/compile/terminal.ts";
import { groupsIn, type UserNamespacePlan } from "#runtime/compile/user-namespace.ts";
import { enterUserNamespace, type Passage } from "#runtime/compile/user-namespace-entry.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

/** What differs with the parent. */
export interface ChildFrame {
  /** The first steps: where failures are reported, what ties the process to its parent. */
  begin(): void;
  /** Where a terminal's master goes, and its size; undefined without a terminal. */
  terminal: { send: Register; size: { rows: number; columns: number } | undefined } | undefined;
  /** The way into a user namespace, for a container in one. */
  passage?: Passage | undefined;
  /** The last steps with the host's rights. */
  beforeUserNamespace?(user: UserNamespacePlan): void;
  /** All is mounted, the root not yet changed: wait for the parent, who has the host's side to do. */
  waitForParent(): void;
  /** Puts descriptors 0, 1 and 2 in place. */
  takeStdio(slave: Register | undefined): void;
  /** How many descriptors from 3 on the process gets. */
  preserveFds?: number;
  /** Dies when its parent does; the death signal is lost with a change of user and set again. */
  endsWithParent: boolean;
  /** User and capabilities are final; the system call filter is not there yet, unless it notifies. */
  beforeFilter?(): void;
  /** The filter notifies, and this is the descriptor to listen on. */
  announceListener?(listener: Register): void;
}

/** Writes all of it; nothing comes after. */
export function writeChild(w: ProgramWriter, plan: ContainerPlan, frame: ChildFrame): void {
  const { b } = w;
  const { parts, process, namespaces, user } = plan;
  const { spec } = parts;
  const limited = user !== undefined || (parts.host.inUserNamespace ?? false);
  frame.begin();
  b.sys("setsid", [], { why: "begin a session" });
  b.sys("umask", [0], { why: "take modes as they are given" });

  joinCgroups(w, parts.cgroups, plan.owner);
  adjustOomScore(w, process, parts.rootless !== undefined || (parts.host.inUserNamespace ?? false));
  if (spec.linux?.intelRdt) joinRdtGroup(w, spec.linux.intelRdt, parts.id, parts.host);
  const root = b.register("root");
  const taken = user !== undefined && !user.rootless;
  if (user !== undefined) {
    takeLabels(w, process);
    frame.beforeUserNamespace?.(user);
    if (taken) {
      raiseLimits(w, process);
      prepareForChild(w, namespaces, spec);
      joinNamespaces(w, namespaces);
      takeBindSources(w, plan.mounts);
      takeRoot(w, parts.rootfs, root, plan.rootPropagation);
    }
    if (frame.passage === undefined) throw new Error("no way into the user namespace");
    enterUserNamespace(w, user, frame.passage, { namespaces, spec });
  } else joinNamespaces(w, namespaces);
  if (namespaces.isNew("cgroup")) b.sys("unshare", [CLONE.NEWCGROUP], { why: "make a cgroup namespace" });

  if (!taken) takeBindSources(w, plan.mounts);
  b.sys("mount", [0, b.cstr("/"), 0, MS.REC | MS.SLAVE, 0], { why: "keep mounts from the host" });
  if (taken) attachRoot(w, root);
  else mountRoot(w, parts.rootfs, root, plan.rootPropagation);
  const mounted = mountAll(w, plan.mounts, parts, root, limited);
  makeDevices(w, plan.devices, mounted, parts.host);
  const slave = makeConsole(w, frame, mounted);
  makeWorkingDirectory(w, process, root);

  frame.waitForParent();
  configureNetwork(w, plan, mounted);
  for (const { path, value } of plan.sysctls) {
    writeProc(w, ownProc(w, mounted), `sys/${path}`, value, `set sysctl ${path} to ${value}`);
  }
  protectPaths(w, plan.readonlyPaths, mounted);
  maskPaths(w, plan.maskedPaths, mounted, parts.execDirectory);
  closeToWriting(w, mounted, spec.root?.readonly ?? false);
  if (user === undefined) {
    for (const { file, text, why } of labelsForExec(process)) {
      writeProc(w, ownProc(w, mounted), `self/${file}`, text, why);
    }
  }
  if (parts.noPivot) moveTo(w, root, plan.rootPropagation, { there: taken });
  else pivotTo(w, root, plan.rootPropagation);

  if (namespaces.isNew("uts")) setNames(w, plan);
  if (spec.linux?.memoryPolicy) setMemoryPolicy(w, spec.linux.memoryPolicy);
  frame.takeStdio(slave);
  const argv =
    parts.initPath === undefined ? (process.args ?? []) : [INIT_PATH, "--", ...(process.args ?? [])];
  startProcess(w, {
    process,
    argv,
    seccomp: spec.linux?.seccomp,
    personality: spec.linux?.personality,
    host: parts.host,
    groups: groupsIn(user),
    id: parts.id,
    endsWithParent: frame.endsWithParent,
    preserveFds: frame.preserveFds ?? 0,
    noNewKeyring: parts.noNewKeyring ?? false,
    ...(frame.announceListener && { announceListener: frame.announceListener }),
    ...(frame.beforeFilter && { beforeFilter: frame.beforeFilter }),
  });
}

/** Makes the terminal in the container's devpts and mounts it on /dev/console. */
function makeConsole(w: ProgramWriter, { terminal }: ChildFrame, mounted: Mounted): Register | undefined {
  if (terminal === undefined) return undefined;
  const { b, O } = w;
  const slave = b.register("terminal");
  w.borrow((master) => {
    const flags = O.RDWR | O.NOCTTY;
    const why = "open a terminal in the container's devpts";
    if (mounted.pts !== undefined)
      w.openUnder(mounted.pts, "ptmx", { flags, resolve: INSIDE, into: master, why });
    else w.openUnder(mounted.root, "dev/pts/ptmx", { flags, resolve: INSIDE, into: master, why });
    makeTerminal(w, master, terminal.send, slave, terminal.size);
  });
  if (!mounted.foreignDev) mountConsole(w, slave, mounted);
  return slave;
}

/** As Docker does, a working directory that isn't there is made. */
function makeWorkingDirectory(w: ProgramWriter, process: SpecProcess, root: Register): void {
  const cwd = cleanPath(process.cwd, "working directory");
  if (cwd === "/") return;
  w.borrow((directory) => {
    openDirectory(w, root, cwd.slice(1), directory, `make working directory ${cwd}`);
    w.close(directory);
  });
}

function configureNetwork(w: ProgramWriter, plan: ContainerPlan, mounted: Mounted): void {
  const { sandbox } = plan.parts;
  for (const [path, value] of Object.entries(sandbox.sysctls)) {
    writeProc(w, ownProc(w, mounted), `sys/${path}`, value, `set sysctl ${path} to ${value}`);
  }
  const own = plan.namespaces.isNew("network") && sandbox.container.length === 0 ? [loopbackUp()] : [];
  sendRequests(w, [...own, ...sandbox.container]);
}

function setNames(w: ProgramWriter, { parts }: ContainerPlan): void {
  const { b } = w;
  const { hostname, domainname } = parts.spec;
  for (const [call, name] of [
    ["sethostname", hostname],
    ["setdomainname", domainname],
  ] as const) {
    if (!name) continue;
    const text = b.cstr(name);
    b.sys(call, [text, text.length - 1], { why: `${call} ${name}` });
  }
}
