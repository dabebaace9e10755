/**
 * An OCI bundle's configuration → the program by which `create` and `run` of the runtime's command line make its
 * container. Pure.
 *
 * The launcher's first process makes the control groups, forks, lets the command line do its part, waits until the child
 * is complete, and leaves: the container's first process then belongs to the caller's subreaper. With `supervise` it
 * stays to tell the end, with `relay` it also holds the terminal. The child is compile/container-child.ts.
 */
import { createProgramBuilder } from "#program/program-builder.ts";
import type { Register } from "#program/types.ts";
import { checkResources } from "#runtime/cgroups/check-resources.ts";
import { placementOf } from "#runtime/cgroups/container-cgroup.ts";
import {
  askCommandLine,
  awaitStart,
  BUNDLE_NOTE,
  closeForeign,
  connectConsole,
  giveStdio,
  keepOnly,
  listenForStart,
  makeRendezvous,
  meetChild,
  meetParent,
  type Rendezvous,
  relayPlan,
  reopenNull,
} from "#runtime/compile/bundle-frame.ts";
import { isBornInGroup, makeCgroups, openGroup } from "#runtime/compile/cgroup-setup.ts";
import { runChildHooks } from "#runtime/compile/child-hooks.ts";
import { type ChildFrame, writeChild } from "#runtime/compile/container-child.ts";
import { type ContainerPlan, planContainer } from "#runtime/compile/container-plan.ts";
import { closeIdMaps, makeIdMaps } from "#runtime/compile/id-mapped-mounts.ts";
import { PR, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import { prepareForChild } from "#runtime/compile/namespaces.ts";
import { sendRequests } from "#runtime/compile/network-setup.ts";
import { checkExecutable } from "#runtime/compile/process-start.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import {
  announceListener,
  type Listening,
  passListener,
  planListener,
} from "#runtime/compile/seccomp-listener.ts";
import {
  EXIT_NAME,
  listen,
  makeStdio,
  NOTE,
  relay,
  SOCKET_NAME,
  type Stdio,
} from "#runtime/compile/shim-frame.ts";
import { takeTerminal, terminalSize } from "#runtime/compile/terminal.ts";
import { hostId } from "#runtime/compile/user-namespace.ts";
import { makePassage, type Passage, seeThrough } from "#runtime/compile/user-namespace-entry.ts";
import type { BundleLaunch, CompiledLaunch } from "#runtime/launch-types.ts";

/** The state on the hooks' stdin, as files of the state directory that the command line fills at the rendezvous. */
export const HOOK_STATE = { creating: "hook-creating.json", created: "hook-created.json" } as const;

/** Throws BerthError, "invalid" or "not-implemented", for a configuration that cannot be run as it says. */
export function compileBundle(launch: BundleLaunch): CompiledLaunch {
  const { host, execDirectory } = launch;
  const plan = planContainer(launch);
  checkResources(launch.spec.linux?.resources, launch.cgroups, plan.owner);
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const shared = prepare(w, plan, launch);
  writeParent(w, plan, launch, shared);
  w.b.place(shared.child);
  writeChild(w, plan, childFrame(w, plan, launch, shared));
  const program = w.b.finish();
  return {
    program,
    execveInstructions: program.labels.flatMap((label, index) => (label.startsWith("exec ") ? [index] : [])),
    controlSocket: `${execDirectory}/${SOCKET_NAME}`,
    exitFile: `${execDirectory}/${EXIT_NAME}`,
  };
}

/** What parent and child share. */
interface Shared {
  child: ReturnType<ProgramWriter["b"]["label"]>;
  start: Register;
  status: Register;
  statusRead: Register;
  forked: Rendezvous | undefined;
  mounted: Rendezvous | undefined;
  passage: Passage | undefined;
  listening: Listening | undefined;
  /** Where the terminal's master goes to. */
  console: Register | undefined;
  relay: { stdio: Stdio; listener: Register } | undefined;
  hookState: { creating?: Register; created?: Register };
}

function prepare(w: ProgramWriter, plan: ContainerPlan, launch: BundleLaunch): Shared {
  const { b } = w;
  const { spec, terminal } = launch;
  closeForeign(w, launch.preserveFds);
  const start = b.register("start socket");
  listenForStart(w, launch.execDirectory, start);
  const hookState: Shared["hookState"] = {};
  const openState = (key: keyof typeof HOOK_STATE) => {
    const into = b.register(`state for hooks, ${key}`);
    w.open(HOOK_STATE[key], w.O.RDONLY, into, `open ${HOOK_STATE[key]}`);
    return into;
  };
  if (spec.hooks?.createContainer?.length) hookState.creating = openState("creating");
  if (spec.hooks?.startContainer?.length) hookState.created = openState("created");
  const scope = placementOf(plan.owner)?.unit;
  if (scope === undefined) makeCgroups(w, launch.cgroups, plan.owner, spec.linux?.resources);
  let relayed: Shared["relay"];
  let consoleSocket: Register | undefined;
  if (terminal?.kind === "relay") {
    const listener = b.register("control socket");
    listen(w, launch.execDirectory, listener);
    const stdio = makeStdio(w, relayPlan(terminal));
    relayed = { stdio, listener };
    consoleSocket = stdio.send;
  } else if (terminal !== undefined) {
    consoleSocket = b.register("console socket");
    connectConsole(w, terminal.path, consoleSocket);
  }
  const statusRead = b.register("status, read end");
  const status = b.register("status");
  w.pipe(statusRead, status, "make the status pipe");
  return {
    child: b.label("child"),
    start,
    status,
    statusRead,
    forked: launch.ask.forked || scope !== undefined ? makeRendezvous(w, "forked") : undefined,
    mounted: launch.ask.mounted || launch.sandbox.host.length > 0 ? makeRendezvous(w, "mounted") : undefined,
    listening: planListener(w, {
      id: launch.id,
      spec,
      bundle: launch.bundle ?? launch.execDirectory,
      rootless: launch.rootless !== undefined,
    }),
    passage: plan.user && makePassage(w, plan.user),
    console: consoleSocket,
    relay: relayed,
    hookState,
  };
}

function writeParent(w: ProgramWriter, plan: ContainerPlan, launch: BundleLaunch, shared: Shared): void {
  const { b } = w;
  const { cgroups, spec, terminal } = launch;
  const { forked, mounted, relay: relayed, statusRead, status } = shared;
  if (plan.user === undefined) prepareForChild(w, plan.namespaces, spec);
  makeIdMaps(w, plan.mounts, plan.user);
  const pid = b.register("pid");
  const group = isBornInGroup(cgroups, plan.owner) ? b.register("control group") : undefined;
  if (group !== undefined) openGroup(w, cgroups, plan.owner, spec.linux?.resources?.devices, group);
  b.fork({
    flags: plan.user === undefined ? plan.namespaces.cloneFlags : 0,
    into: pid,
    child: shared.child,
    ...(group !== undefined && { cgroup: group }),
    why: "fork into new namespaces",
  });
  if (group !== undefined) w.close(group);
  closeIdMaps(w, plan.mounts);
  if (plan.user === undefined) b.notify(NOTE.CREATED, pid);
  w.close(status);
  w.close(shared.start);
  if (shared.console !== undefined) w.close(shared.console);
  const failed = b.label("the child has failed");
  const ask = (note: number) => askCommandLine(w, note, pid);
  if (forked !== undefined) {
    meetChild(w, forked, failed, () => {
      ask(BUNDLE_NOTE.FORKED);
      // By now systemd has made a scope around the child.
      limitScope(w, plan, launch);
    });
  }
  if (plan.user !== undefined && shared.passage !== undefined) {
    const request = { pid, failed, ask: () => ask(BUNDLE_NOTE.UNMAPPED) };
    seeThrough(w, plan.user, shared.passage, request);
    b.notify(NOTE.CREATED, pid);
  }
  if (mounted !== undefined) {
    meetChild(w, mounted, failed, () => {
      // By now the child is in its network namespace, made or joined.
      sendRequests(w, launch.sandbox.host, { pid });
      if (launch.ask.mounted) ask(BUNDLE_NOTE.MOUNTED);
    });
  }
  if (shared.listening !== undefined) passListener(w, shared.listening, pid, failed);
  if (relayed !== undefined && terminal?.kind === "relay") {
    relay(w, {
      stdio: relayed.stdio,
      plan: relayPlan(terminal),
      pid,
      statusPipe: statusRead,
      listener: relayed.listener,
      log: undefined,
      closeOnExit: !plan.namespaces.isNew("pid"),
      failed,
    });
    return;
  }
  b.place(failed);
  b.awaitExec(statusRead, pid);
  b.notify(NOTE.STARTED, pid);
  if (launch.supervise) {
    const ended = b.register("wait status");
    b.supervise(pid, ended);
    b.notify(BUNDLE_NOTE.ENDED, ended);
  }
  b.exit(0);
}

/** The groups that are systemd's get what it has no properties for, and those it doesn't care for are made beside. */
function limitScope(w: ProgramWriter, plan: ContainerPlan, { cgroups, spec }: BundleLaunch): void {
  if (placementOf(plan.owner)?.unit === undefined) return;
  makeCgroups(w, cgroups, plan.owner, spec.linux?.resources);
  if (cgroups.version === 1) return;
  w.borrow((group) => {
    openGroup(w, cgroups, plan.owner, spec.linux?.resources?.devices, group);
    w.close(group);
  });
}

function childFrame(w: ProgramWriter, plan: ContainerPlan, launch: BundleLaunch, shared: Shared): ChildFrame {
  const { b } = w;
  const { forked, mounted, hookState, listening } = shared;
  const hooks = launch.spec.hooks ?? {};
  return {
    begin: () => {
      b.set(b.report, shared.status, "report to the parent");
      for (const meeting of [forked, mounted, listening?.meeting])
        if (meeting !== undefined) w.close(meeting.parent);
      b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the parent, until complete" });
      if (forked !== undefined) meetParent(w, forked);
    },
    terminal: shared.console && {
      send: shared.console,
      size: terminalSize(launch.terminal?.kind === "relay" ? launch.terminal : {}, plan.process),
    },
    passage: shared.passage,
    beforeUserNamespace: ({ rootless, uidMappings }) => {
      const uid = hostId(uidMappings, plan.process.user.uid);
      if (!rootless && uid !== undefined) giveStdio(w, launch.giveStdio, uid);
    },
    waitForParent: () => {
      if (mounted !== undefined) meetParent(w, mounted);
      if (hookState.creating !== undefined) {
        runChildHooks(w, "createContainer", hooks.createContainer ?? [], hookState.creating);
        w.close(hookState.creating);
      }
    },
    takeStdio: (slave) => {
      if (slave !== undefined) takeTerminal(w, slave, plan.process.user.uid);
      else {
        reopenNull(w, launch.nullStdio);
        if (plan.user === undefined || plan.user.rootless) {
          giveStdio(w, launch.giveStdio, plan.process.user.uid);
        }
      }
    },
    endsWithParent: true,
    preserveFds: launch.preserveFds,
    ...(listening && { announceListener: (listener) => announceListener(w, listening, listener) }),
    beforeFilter: () => {
      checkExecutable(w, plan.process.args ?? [], plan.process.env ?? []);
      b.sys("prctl", [PR.SET_PDEATHSIG, 0, 0, 0, 0], { why: "go on without the parent" });
      w.close(shared.status);
      keepOnly(w, shared.start, hookState.created, launch.preserveFds);
      awaitStart(w, shared.start);
      if (hookState.created !== undefined) {
        runChildHooks(w, "startContainer", hooks.startContainer ?? [], hookState.created);
      }
    },
  };
}
