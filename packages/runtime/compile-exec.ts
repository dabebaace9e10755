/**
 * A further process in a running container → its program. Pure.
 *
 * The shim enters the container's pid namespace for its children only, through a pidfd; its one child joins the control
 * groups by their paths on the host, then everything else of the container at once, and goes the same last steps as a
 * container's first process. Nothing of the host is open in it by then but what execve closes.
 */
import { createProgramBuilder } from "#program/program-builder.ts";
import type { Register } from "#program/types.ts";
import { joinCgroups, openGroup } from "#runtime/compile/cgroup-setup.ts";
import { INSIDE } from "#runtime/compile/inside-root.ts";
import { CLONE, PR, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import { checkProcess, startProcess } from "#runtime/compile/process-start.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import {
  closeChildEnds,
  EXIT_NAME,
  listen,
  makeStdio,
  NOTE,
  relay,
  SOCKET_NAME,
} from "#runtime/compile/shim-frame.ts";
import { makeTerminal, takeStdio, terminalSize } from "#runtime/compile/terminal.ts";
import type { CompiledLaunch, ExecLaunch } from "#runtime/launch-types.ts";

/** Throws BerthError "invalid" for a process that cannot be run as it says. */
export function compileExec(launch: ExecLaunch): CompiledLaunch {
  const { process, host, execDirectory, stdio: stdioPlan, spec } = launch;
  checkProcess(process);
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const { b } = w;
  const owner = spec.linux?.cgroupsPath || launch.containerId;

  const listener = b.register("control socket");
  listen(w, execDirectory, listener);
  const stdio = makeStdio(w, stdioPlan);
  const statusPipe = b.register("status, read end");
  const status = b.register("status");
  w.pipe(statusPipe, status, "make the status pipe");
  const container = b.register("container's first process");
  b.sys("pidfd_open", [launch.pid, 0], { into: container, why: `take hold of process ${launch.pid}` });
  b.sys("setns", [container, CLONE.NEWPID], { why: "join the container's pid namespace" });
  const group = launch.cgroups.version === 2 ? b.register("control group") : undefined;
  if (group !== undefined) openGroup(w, launch.cgroups, owner, undefined, group);
  const pid = b.register("pid");
  const child = b.label("child");
  b.fork({ flags: 0, into: pid, child, ...(group !== undefined && { cgroup: group }), why: "fork" });
  if (group !== undefined) w.close(group);
  b.notify(NOTE.CREATED, pid);
  w.close(status);
  w.close(container);
  closeChildEnds(w, stdio);
  relay(w, {
    stdio,
    plan: stdioPlan,
    pid,
    statusPipe,
    listener,
    log: { fd: undefined, attrs: "" },
    // What the process leaves running in the container keeps nobody waiting.
    closeOnExit: true,
  });

  b.place(child);
  b.set(b.report, status, "report to the shim");
  b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the shim" });
  b.sys("setsid", [], { why: "begin a session" });
  joinCgroups(w, launch.cgroups, owner);
  if (process.oomScoreAdj !== undefined) {
    const text = String(process.oomScoreAdj);
    w.writeFile("/proc/self/oom_score_adj", text, `set the OOM score adjustment to ${text}`);
  }
  joinContainer(w, launch, container);
  const slave = stdio.send === undefined ? undefined : openTerminal(w, launch, stdio.send);
  takeStdio(w, stdio, slave, stdioPlan, process.user.uid);
  const argv = process.args ?? [];
  startProcess(w, {
    process,
    argv,
    seccomp: spec.linux?.seccomp,
    host,
    id: launch.containerId,
    endsWithParent: true,
  });

  const program = b.finish();
  return {
    program,
    execveInstructions: program.labels.flatMap((label, index) => (label.startsWith("exec ") ? [index] : [])),
    controlSocket: `${execDirectory}/${SOCKET_NAME}`,
    exitFile: `${execDirectory}/${EXIT_NAME}`,
  };
}

/** All at once: the kernel switches either to all of them or to none. */
function joinContainer(w: ProgramWriter, { spec }: ExecLaunch, container: Register): void {
  const time = spec.linux?.namespaces?.some(({ type }) => type === "time") ? CLONE.NEWTIME : 0;
  const flags = CLONE.NEWNS | CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP | time;
  w.b.sys("setns", [container, flags], { why: "join the container's namespaces" });
}

/** In the container's devpts. What else may lie under that name fails the first request that only a terminal knows. */
function openTerminal(w: ProgramWriter, launch: ExecLaunch, send: Register): Register {
  const { b, O } = w;
  const slave = b.register("terminal");
  w.borrow((root) => {
    w.open("/", O.PATH | O.DIRECTORY, root, "open /");
    w.borrow((master) => {
      const flags = O.RDWR | O.NOCTTY | O.NONBLOCK;
      const why = "open a terminal in the container's devpts";
      w.openUnder(root, "dev/pts/ptmx", { flags, resolve: INSIDE, into: master, why });
      makeTerminal(w, master, send, slave, terminalSize(launch.stdio, launch.process));
    });
    w.close(root);
  });
  return slave;
}
