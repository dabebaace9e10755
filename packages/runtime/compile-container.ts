/**
 * An OCI configuration → the program that makes it a running container. Pure: everything it needs to know is in the
 * launch; nothing here touches the kernel.
 *
 * Two processes run the program. The *shim* makes the control socket, control groups and pipes, forks, builds the network
 * from the host's side, waits until the container's program runs, and stays as its relay. The *child* joins the control
 * groups, builds the file system while the shim builds the network, waits for that, configures its side of it, hides what
 * is to be hidden, changes the root, and becomes the container's first process. See docs/architecture.md.
 */
import { BerthError } from "#errors/errors.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import { ANY_ERRNO, type ProgramBuilder, type Register } from "#program/types.ts";
import { joinCgroups, makeCgroups, openGroup } from "#runtime/compile/cgroup-setup.ts";
import { makeDevices, mountConsole } from "#runtime/compile/device-nodes.ts";
import { maskPaths, protectPaths } from "#runtime/compile/hidden-paths.ts";
import { cleanPath, INSIDE, openDirectory } from "#runtime/compile/inside-root.ts";
import { AT_FDCWD, CLONE, MS, PR, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import {
  type Mounted,
  makeRootReadOnly,
  mountAll,
  type PlannedMount,
  planMounts,
  takeBindSources,
} from "#runtime/compile/mounts.ts";
import {
  joinNamespaces,
  type NamespacePlan,
  planNamespaces,
  prepareForChild,
} from "#runtime/compile/namespaces.ts";
import { jumpIfReported, loopbackUp, sendRequests } from "#runtime/compile/network-setup.ts";
import { ownProc, planSysctls, writeProc } from "#runtime/compile/proc-files.ts";
import { checkProcess, startProcess } from "#runtime/compile/process-start.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { mountRoot, pivotTo } from "#runtime/compile/root-file-system.ts";
import {
  closeChildEnds,
  EXIT_NAME,
  listen,
  makeStdio,
  NOTE,
  openLog,
  relay,
  SOCKET_NAME,
  type Stdio,
} from "#runtime/compile/shim-frame.ts";
import { makeTerminal, takeStdio, terminalSize } from "#runtime/compile/terminal.ts";
import type { CompiledLaunch, ContainerLaunch } from "#runtime/launch-types.ts";
import type { SpecMount, SpecProcess } from "#runtime/spec-types.ts";

/** Where an init is found in the container, as in Docker. */
const INIT_PATH = "/sbin/docker-init";

/** Throws BerthError, "invalid" or "not-implemented", for a configuration that cannot be run as it says. */
export function compileContainer(launch: ContainerLaunch): CompiledLaunch {
  const { spec, host, execDirectory } = launch;
  const process = checkedProcess(launch);
  const plan: Plan = {
    launch,
    process,
    namespaces: planNamespaces(spec),
    mounts: planMounts([...(spec.mounts ?? []), ...initMount(launch)]),
    sysctls: planSysctls(spec),
    owner: spec.linux?.cgroupsPath || launch.id,
  };
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const between = writeShim(w, plan);
  writeChild(w, plan, between);
  const program = w.b.finish();
  return {
    program,
    execveInstructions: program.labels.flatMap((label, index) => (label.startsWith("exec ") ? [index] : [])),
    controlSocket: `${execDirectory}/${SOCKET_NAME}`,
    exitFile: `${execDirectory}/${EXIT_NAME}`,
  };
}

interface Plan {
  launch: ContainerLaunch;
  process: SpecProcess;
  namespaces: NamespacePlan;
  mounts: PlannedMount[];
  sysctls: { path: string; value: string }[];
  /** Of the control groups. */
  owner: string;
}

/** What shim and child share. */
interface Between {
  child: ReturnType<ProgramBuilder["label"]>;
  stdio: Stdio;
  status: Register;
  /** The child waits at one end for a byte, the shim writes it once the network is there. */
  network: { wait: Register; release: Register } | undefined;
}

function checkedProcess({ spec }: ContainerLaunch): SpecProcess {
  const refuse = (code: "invalid" | "not-implemented", message: string) =>
    new BerthError(code, message, { operation: "compile container" });
  if (spec.process === undefined) throw refuse("invalid", "the configuration has no process");
  if (Object.values(spec.hooks ?? {}).some((hooks) => hooks.length > 0)) {
    throw refuse("not-implemented", "hooks are not supported");
  }
  if (spec.process.selinuxLabel || spec.linux?.mountLabel) {
    throw refuse("not-implemented", "SELinux labels are not supported");
  }
  checkProcess(spec.process);
  return spec.process;
}

function initMount({ initPath }: ContainerLaunch): SpecMount[] {
  if (initPath === undefined) return [];
  return [
    { destination: INIT_PATH, type: "bind", source: initPath, options: ["bind", "ro", "nosuid", "nodev"] },
  ];
}

// --- the shim ---------------------------------------------------------------------------------------------------

function writeShim(w: ProgramWriter, plan: Plan): Between {
  const { b } = w;
  const { launch, namespaces } = plan;
  const { spec, cgroups, stdio: stdioPlan } = launch;
  const listener = b.register("control socket");
  listen(w, launch.execDirectory, listener);
  makeCgroups(w, cgroups, plan.owner, spec.linux?.resources);
  const log = openLog(w, launch.log);
  const stdio = makeStdio(w, stdioPlan);
  const statusRead = b.register("status, read end");
  const status = b.register("status");
  w.pipe(statusRead, status, "make the status pipe");
  const network = launch.sandbox.host.length > 0 ? makeBarrier(w) : undefined;
  prepareForChild(w, namespaces, spec);

  const pid = b.register("pid");
  const child = b.label("child");
  const group = cgroups.version === 2 ? b.register("control group") : undefined;
  if (group !== undefined) openGroup(w, cgroups, plan.owner, spec.linux?.resources?.devices, group);
  b.fork({
    flags: namespaces.cloneFlags,
    into: pid,
    child,
    ...(group !== undefined && { cgroup: group }),
    why: "fork into new namespaces",
  });
  if (group !== undefined) w.close(group);
  b.notify(NOTE.CREATED, pid);
  w.close(status);
  closeChildEnds(w, stdio);

  // In parallel with the child's mounts.
  const failed = b.label("the child has failed");
  if (network !== undefined) {
    w.close(network.wait);
    const beforeJudging = () => jumpIfReported(w, statusRead, failed);
    sendRequests(w, launch.sandbox.host, { pid, beforeJudging });
    b.sys("write", [network.release, b.cstr("n"), 1], { why: "tell the child that its network is there" });
    w.close(network.release);
  }
  holdNamespaces(w, pid);
  relay(w, {
    stdio,
    plan: stdioPlan,
    pid,
    statusPipe: statusRead,
    listener,
    log: { fd: log, attrs: launch.log.attrs },
    closeOnExit: !namespaces.isNew("pid"),
    failed,
  });
  return { child, stdio, status, network };
}

function makeBarrier(w: ProgramWriter): { wait: Register; release: Register } {
  const wait = w.b.register("network, read end");
  const release = w.b.register("network, write end");
  w.pipe(wait, release, "make the pipe for the network");
  return { wait, release };
}

/**
 * Keeps the namespaces alive until the shim ends: their tear-down then isn't waited for by the exit of the container's
 * last process. A child that is gone already has none; its report says why.
 */
function holdNamespaces(w: ProgramWriter, pid: Register): void {
  const { b, O } = w;
  const prefix = "/proc/";
  const path = b.bytes(new TextEncoder().encode(prefix.padEnd(prefix.length + 24, "\0")));
  b.formatDecimal(pid, b.slice(path, prefix.length));
  w.borrow((directory) => {
    const why = "look at the child's namespaces";
    b.sys("openat", [AT_FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC, 0], {
      into: directory,
      ignore: ANY_ERRNO,
      why,
    });
    for (const name of ["mnt", "net", "ipc"]) {
      const held = b.register(`${name} namespace`);
      b.sys("openat", [directory, b.cstr(`ns/${name}`), O.CLOEXEC, 0], {
        into: held,
        ignore: ANY_ERRNO,
        why: `hold the ${name} namespace`,
      });
    }
    b.sys("close", [directory], { ignore: ANY_ERRNO, why });
  });
}

// --- the child --------------------------------------------------------------------------------------------------

function writeChild(w: ProgramWriter, plan: Plan, between: Between): void {
  const { b } = w;
  const { launch, process, namespaces } = plan;
  const { spec } = launch;
  b.place(between.child);
  b.set(b.report, between.status, "report to the shim");
  if (between.network !== undefined) w.close(between.network.release);
  b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the shim" });
  b.sys("setsid", [], { why: "begin a session" });
  b.sys("umask", [0], { why: "take modes as they are given" });

  joinCgroups(w, launch.cgroups, plan.owner);
  if (process.oomScoreAdj !== undefined) {
    const text = String(process.oomScoreAdj);
    w.writeFile("/proc/self/oom_score_adj", text, `set the OOM score adjustment to ${text}`);
  }
  joinNamespaces(w, namespaces);
  if (namespaces.isNew("cgroup")) b.sys("unshare", [CLONE.NEWCGROUP], { why: "make a cgroup namespace" });

  const root = b.register("root");
  takeBindSources(w, plan.mounts);
  b.sys("mount", [0, b.cstr("/"), 0, MS.REC | MS.SLAVE, 0], { why: "keep mounts from the host" });
  mountRoot(w, launch.rootfs, root);
  const mounted = mountAll(w, plan.mounts, launch, root);
  makeDevices(w, spec.linux?.devices ?? [], mounted);
  const slave = makeConsole(w, plan, between, mounted);
  makeWorkingDirectory(w, process, root);

  writeNetwork(w, plan, between, mounted);
  for (const { path, value } of plan.sysctls) {
    writeProc(w, ownProc(w, mounted), `sys/${path}`, value, `set sysctl ${path} to ${value}`);
  }
  protectPaths(w, spec.linux?.readonlyPaths ?? [], mounted);
  maskPaths(w, spec.linux?.maskedPaths ?? [], mounted, launch.execDirectory);
  if (spec.root?.readonly) makeRootReadOnly(w, root);
  if (process.apparmorProfile && launch.host.apparmor) {
    const text = `exec ${process.apparmorProfile}`;
    writeProc(
      w,
      ownProc(w, mounted),
      "self/attr/apparmor/exec",
      text,
      `take AppArmor profile ${process.apparmorProfile}`,
    );
  }
  pivotTo(w, root, spec.linux?.rootfsPropagation);

  if (namespaces.isNew("uts")) setNames(w, plan);
  takeStdio(w, between.stdio, slave, launch.stdio, process.user.uid);
  const argv =
    launch.initPath === undefined ? (process.args ?? []) : [INIT_PATH, "--", ...(process.args ?? [])];
  startProcess(w, { process, argv, seccomp: spec.linux?.seccomp, host: launch.host, id: launch.id });
}

/** Makes the terminal in the container's devpts and mounts it on /dev/console. */
function makeConsole(w: ProgramWriter, plan: Plan, between: Between, mounted: Mounted): Register | undefined {
  const { send } = between.stdio;
  if (send === undefined) return undefined;
  const { b, O } = w;
  const slave = b.register("terminal");
  w.borrow((master) => {
    const flags = O.RDWR | O.NOCTTY;
    const why = "open a terminal in the container's devpts";
    if (mounted.pts !== undefined)
      w.openUnder(mounted.pts, "ptmx", { flags, resolve: INSIDE, into: master, why });
    else w.openUnder(mounted.root, "dev/pts/ptmx", { flags, resolve: INSIDE, into: master, why });
    makeTerminal(w, master, send, slave, terminalSize(plan.launch.stdio, plan.process));
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

function writeNetwork(w: ProgramWriter, plan: Plan, between: Between, mounted: Mounted): void {
  const { b } = w;
  const { sandbox } = plan.launch;
  if (between.network !== undefined) b.barrier(between.network.wait, "wait for the network");
  for (const [path, value] of Object.entries(sandbox.sysctls)) {
    writeProc(w, ownProc(w, mounted), `sys/${path}`, value, `set sysctl ${path} to ${value}`);
  }
  const own = plan.namespaces.isNew("network") && sandbox.container.length === 0 ? [loopbackUp()] : [];
  sendRequests(w, [...own, ...sandbox.container]);
}

function setNames(w: ProgramWriter, { launch }: Plan): void {
  const { b } = w;
  const { hostname, domainname } = launch.spec;
  for (const [call, name] of [
    ["sethostname", hostname],
    ["setdomainname", domainname],
  ] as const) {
    if (!name) continue;
    const text = b.cstr(name);
    b.sys(call, [text, text.length - 1], { why: `${call} ${name}` });
  }
}
