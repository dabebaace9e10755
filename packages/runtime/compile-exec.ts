/**
 * A further process in a running container of the daemon's → its program. Pure. The shim around it is as a container's
 * (compile/shim-frame.ts), the process itself compile/exec-child.ts.
 */
import { createProgramBuilder } from "#program/program-builder.ts";
import { checkProcess } from "#runtime/compile/check-process.ts";
import { forkForContainer, writeExecChild } from "#runtime/compile/exec-child.ts";
import { PR, SIGKILL } from "#runtime/compile/kernel-constants.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { announceListener, passListener, planListener } from "#runtime/compile/seccomp-listener.ts";
import {
  closeChildEnds,
  EXIT_NAME,
  listen,
  makeStdio,
  relay,
  SOCKET_NAME,
} from "#runtime/compile/shim-frame.ts";
import { giveStdio, takeStdio, terminalSize } from "#runtime/compile/terminal.ts";
import type { CompiledLaunch, ExecLaunch } from "#runtime/launch-types.ts";

/** Throws BerthError "invalid" for a process that cannot be run as it says. */
export function compileExec(launch: ExecLaunch): CompiledLaunch {
  const { process, host, execDirectory, stdio: stdioPlan } = launch;
  checkProcess(process, host);
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const { b } = w;

  const listener = b.register("control socket");
  listen(w, execDirectory, listener);
  const stdio = makeStdio(w, stdioPlan);
  const statusPipe = b.register("status, read end");
  const status = b.register("status");
  w.pipe(statusPipe, status, "make the status pipe");
  const listening = planListener(w, {
    id: launch.containerId,
    spec: launch.spec,
    bundle: launch.bundle ?? execDirectory,
    containerPid: launch.pid,
    rootless: launch.rootless !== undefined,
  });
  const child = b.label("child");
  const failed = b.label("the child has failed");
  const { pid, container } = forkForContainer(w, launch, child);
  w.close(status);
  w.close(container);
  closeChildEnds(w, stdio);
  if (listening !== undefined) passListener(w, listening, pid, failed);
  relay(w, {
    stdio,
    plan: stdioPlan,
    pid,
    statusPipe,
    listener,
    log: undefined,
    // What the process leaves running in the container keeps nobody waiting.
    closeOnExit: true,
    failed,
  });

  b.place(child);
  const { send } = stdio;
  writeExecChild(w, launch, container, {
    begin: () => {
      b.set(b.report, status, "report to the shim");
      if (listening !== undefined) w.close(listening.meeting.parent);
      b.sys("prctl", [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0], { why: "end with the shim" });
    },
    terminal: send && { send, size: terminalSize(stdioPlan, process) },
    giveStdio: (uid) => giveStdio(w, stdio, stdioPlan, uid),
    takeStdio: (slave) => takeStdio(w, stdio, slave, process.user.uid),
    endsWithParent: true,
    ...(listening && { announceListener: (listener) => announceListener(w, listening, listener) }),
  });

  const program = b.finish();
  return {
    program,
    execveInstructions: program.labels.flatMap((label, index) => (label.startsWith("exec ") ? [index] : [])),
    controlSocket: `${execDirectory}/${SOCKET_NAME}`,
    exitFile: `${execDirectory}/${EXIT_NAME}`,
  };
}
