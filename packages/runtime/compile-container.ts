/**
 * An OCI configuration → the program that makes it a running container of the daemon's. Pure: everything it needs to
 * know is in the launch; nothing here touches the kernel.
 *
 * Two processes run the program. The *shim* makes the control socket, control groups and pipes, forks, builds the network
 * from the host's side, waits until the container's program runs, and stays as its relay. The *child*
 * (compile/container-child.ts) builds the file system while the shim builds the network. See docs/architecture.md.
 */
import { BerthError } from "#errors/errors.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import { ANY_ERRNO, type ProgramBuilder, type Register } from "#program/types.ts";
import { makeCgroups, openGroup } from "#runtime/compile/cgroup-setup.ts";
import { type ChildFrame, writeChild } from "#runtime/compile/container-child.ts";
import { type ContainerPlan, planContainer } from "#runtime/compile/container-plan.ts";
import { closeIdMaps, makeIdMaps } from "#runtime/compile/id-mapped-mounts.ts";
import { AT_FDCWD, PR, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import { prepareForChild } from "#runtime/compile/namespaces.ts";
import { jumpIfReported, sendRequests } from "#runtime/compile/network-setup.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { makeResolverSockets } from "#runtime/compile/resolver-sockets.ts";
import {
  announceListener,
  type Listening,
  passListener,
  planListener,
} from "#runtime/compile/seccomp-listener.ts";
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
import { giveStdio, takeStdio, terminalSize } from "#runtime/compile/terminal.ts";
import { hostId } from "#runtime/compile/user-namespace.ts";
import { makePassage, type Passage, seeThrough } from "#runtime/compile/user-namespace-entry.ts";
import type { CompiledLaunch, ContainerLaunch } from "#runtime/launch-types.ts";

/** Throws BerthError, "invalid" or "not-implemented", for a configuration that cannot be run as it says. */
export function compileContainer(launch: ContainerLaunch): CompiledLaunch {
  const { spec, host, execDirectory } = launch;
  // The runtime's command line has hooks; the engine has no use for them.
  if (Object.values(spec.hooks ?? {}).some((hooks) => hooks.length > 0)) {
    throw new BerthError("not-implemented", "hooks are not supported here", {
      operation: "compile container",
    });
  }
  const plan = planContainer(launch);
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const between = writeShim(w, plan, launch);
  w.b.place(between.child);
  writeChild(w, plan, childFrame(w, plan, launch, between));
  const program = w.b.finish();
  return {
    program,
    execveInstructions: program.labels.flatMap((label, index) => (label.startsWith("exec ") ? [index] : [])),
    controlSocket: `${execDirectory}/${SOCKET_NAME}`,
    exitFile: `${execDirectory}/${EXIT_NAME}`,
  };
}

/** What shim and child share. */
interface Between {
  child: ReturnType<ProgramBuilder["label"]>;
  stdio: Stdio;
  status: Register;
  /** The child waits at one end for a byte, the shim writes it once the network is there. */
  network: { wait: Register; release: Register } | undefined;
  listening: Listening | undefined;
  passage: Passage | undefined;
}

/** The child's side of what the two share. */
function childFrame(
  w: ProgramWriter,
  plan: ContainerPlan,
  launch: ContainerLaunch,
  between: Between,
): ChildFrame {
  const { b } = w;
  const { stdio, network, status, listening } = between;
  const { send } = stdio;
  return {
    begin: () => {
      b.set(b.report, status, "report to the shim");
      if (network !== undefined) w.close(network.release);
      if (listening !== undefined) w.close(listening.meeting.parent);
      b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the shim" });
    },
    terminal: send && { send, size: terminalSize(launch.stdio, plan.process) },
    passage: between.passage,
    beforeUserNamespace: ({ uidMappings }) => {
      const uid = hostId(uidMappings, plan.process.user.uid);
      if (uid !== undefined) giveStdio(w, stdio, launch.stdio, uid);
    },
    waitForParent: () => {
      if (network !== undefined) b.barrier(network.wait, "wait for the network");
    },
    takeStdio: (slave) => {
      const { uid } = plan.process.user;
      if (plan.user === undefined) giveStdio(w, stdio, launch.stdio, uid);
      takeStdio(w, stdio, slave, uid);
    },
    endsWithParent: true,
    ...(listening && { announceListener: (listener) => announceListener(w, listening, listener) }),
  };
}

function writeShim(w: ProgramWriter, plan: ContainerPlan, launch: ContainerLaunch): Between {
  const { b } = w;
  const { namespaces } = plan;
  const { spec, cgroups, stdio: stdioPlan } = launch;
  const listener = b.register("control socket");
  listen(w, launch.execDirectory, listener);
  makeCgroups(w, cgroups, plan.owner, spec.linux?.resources);
  const log = openLog(w, launch.log);
  const stdio = makeStdio(w, stdioPlan);
  const statusRead = b.register("status, read end");
  const status = b.register("status");
  w.pipe(statusRead, status, "make the status pipe");
  const { host, resolver } = launch.sandbox;
  const network = host.length > 0 || resolver !== undefined ? makeBarrier(w) : undefined;
  const listening = planListener(w, {
    id: launch.id,
    spec,
    bundle: launch.bundle ?? launch.execDirectory,
    rootless: launch.rootless !== undefined,
  });
  const passage = plan.user && makePassage(w, plan.user);
  if (plan.user === undefined) prepareForChild(w, namespaces, spec);
  makeIdMaps(w, plan.mounts, plan.user);

  const pid = b.register("pid");
  const child = b.label("child");
  const group = cgroups.version === 2 ? b.register("control group") : undefined;
  if (group !== undefined) openGroup(w, cgroups, plan.owner, spec.linux?.resources?.devices, group);
  b.fork({
    flags: plan.user === undefined ? namespaces.cloneFlags : 0,
    into: pid,
    child,
    ...(group !== undefined && { cgroup: group }),
    why: "fork into new namespaces",
  });
  if (group !== undefined) w.close(group);
  closeIdMaps(w, plan.mounts);
  if (plan.user === undefined) b.notify(NOTE.CREATED, pid);
  w.close(status);
  closeChildEnds(w, stdio);

  // In parallel with the child's mounts.
  const failed = b.label("the child has failed");
  if (plan.user !== undefined && passage !== undefined) {
    seeThrough(w, plan.user, passage, { pid, failed, ask: () => refuseTools() });
    b.notify(NOTE.CREATED, pid);
  }
  if (network !== undefined) {
    w.close(network.wait);
    const beforeJudging = () => jumpIfReported(w, statusRead, failed);
    sendRequests(w, host, { pid, beforeJudging });
    if (resolver !== undefined) makeResolverSockets(w, resolver, pid, failed);
    b.sys("write", [network.release, b.cstr("n"), 1], { why: "tell the child that its network is there" });
    w.close(network.release);
  }
  if (listening !== undefined) passListener(w, listening, pid, failed);
  holdNamespaces(w, pid);
  relay(w, {
    stdio,
    plan: stdioPlan,
    pid,
    statusPipe: statusRead,
    listener,
    log,
    closeOnExit: !namespaces.isNew("pid"),
    failed,
  });
  return { child, stdio, status, network, listening, passage };
}

/** A shim is nobody's child who could run newuidmap. */
function refuseTools(): never {
  throw new BerthError("not-implemented", "mappings by newuidmap are for the runtime's command line", {
    operation: "compile container",
  });
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
