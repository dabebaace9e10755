/**
 * `exec` of the runtime's command line → its program. Pure. The launcher's first process leaves once execve has worked,
 * or stays to tell the end, or to hold the terminal, as for a container (compile-bundle.ts).
 */
import { createProgramBuilder } from "#program/program-builder.ts";
import {
  BUNDLE_NOTE,
  closeForeign,
  connectConsole,
  giveStdio,
  relayPlan,
} from "#runtime/compile/bundle-frame.ts";
import { checkProcess } from "#runtime/compile/check-process.ts";
import { forkForContainer, writeExecChild } from "#runtime/compile/exec-child.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { announceListener, passListener, planListener } from "#runtime/compile/seccomp-listener.ts";
import { EXIT_NAME, listen, makeStdio, NOTE, relay, SOCKET_NAME } from "#runtime/compile/shim-frame.ts";
import { takeTerminal, terminalSize } from "#runtime/compile/terminal.ts";
import type { BundleExecLaunch, CompiledLaunch } from "#runtime/launch-types.ts";

/** Throws BerthError "invalid" for a process that cannot be run as it says. */
export function compileBundleExec(launch: BundleExecLaunch): CompiledLaunch {
  const { process, host, execDirectory, terminal } = launch;
  checkProcess(process, host);
  const w = new ProgramWriter(createProgramBuilder(host.architecture), host.architecture);
  const { b } = w;
  closeForeign(w, launch.preserveFds);

  const relayed = terminal?.kind === "relay" ? terminal : undefined;
  const listener = b.register("control socket");
  if (relayed !== undefined) listen(w, execDirectory, listener);
  const stdio = relayed === undefined ? undefined : makeStdio(w, relayPlan(relayed));
  let send = stdio?.send;
  if (terminal?.kind === "socket") {
    send = b.register("console socket");
    connectConsole(w, terminal.path, send);
  }
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
  if (send !== undefined) w.close(send);
  if (listening !== undefined) passListener(w, listening, pid, failed);
  if (relayed !== undefined && stdio !== undefined) {
    const ending = { pid, statusPipe, listener, log: undefined, closeOnExit: true, failed };
    relay(w, { stdio, plan: relayPlan(relayed), ...ending });
  } else {
    b.place(failed);
    b.awaitExec(statusPipe, pid);
    b.notify(NOTE.STARTED, pid);
    if (launch.supervise) {
      const ended = b.register("wait status");
      b.supervise(pid, ended);
      b.notify(BUNDLE_NOTE.ENDED, ended);
    }
    b.exit(0);
  }

  b.place(child);
  writeExecChild(w, launch, container, {
    begin: () => {
      b.set(b.report, status, "report to the parent");
      if (listening !== undefined) w.close(listening.meeting.parent);
    },
    terminal: send && { send, size: terminalSize(relayed ?? {}, process) },
    giveStdio: (uid) => giveStdio(w, launch.giveStdio, uid),
    takeStdio: (slave) => {
      if (slave !== undefined) takeTerminal(w, slave, process.user.uid);
    },
    endsWithParent: false,
    preserveFds: launch.preserveFds,
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
