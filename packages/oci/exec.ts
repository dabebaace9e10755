/** `exec`: a further process in a running container. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { statusOf } from "#oci/container-status.ts";
import { stdioToGive, terminalOf, writePidFile } from "#oci/create.ts";
import { exitCodeOf, forwardSignals, joinTerminal } from "#oci/foreground.ts";
import { hostFor, ownerOnHost, rootlessCaller } from "#oci/id-mapping.ts";
import { launcherPath } from "#oci/launcher-path.ts";
import { prepareProcess } from "#oci/prepare-process.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { warn } from "#oci/warnings.ts";
import { runLauncher } from "#program/launcher-run.ts";
import { execPlacement } from "#runtime/cgroups/exec-group.ts";
import { processWarnings } from "#runtime/compile/check-process.ts";
import { SOCKET_NAME } from "#runtime/compile/shim-frame.ts";
import { compileBundleExec } from "#runtime/compile-bundle-exec.ts";
import { explainRuntimeFailure } from "#runtime/explain.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

export interface ExecOptions {
  process: SpecProcess;
  consoleSocket?: string;
  pidFile?: string;
  preserveFds: number;
  foreground: boolean;
  /** Also where everything of the container stands still: it waits with the others. */
  ignorePaused: boolean;
  /** `--cgroup`: groups below the container's own. */
  cgroups: readonly string[];
}

/** Answers the process' exit code; 0 at once if it goes on by itself. */
export async function execInContainer(
  states: StateDirectory,
  container: StoredContainer,
  options: ExecOptions,
): Promise<number> {
  refuseUnlessRunning(states, container, options.ignorePaused);
  const rootless = rootlessCaller();
  const host = hostFor(container.spec, readHostFacts());
  const { process: process_, preserveFds } = await prepareProcess(options.process, {
    host,
    root: `/proc/${container.pid}/root`,
    preserveFds: options.preserveFds,
    // A further process is no service of a manager's.
    environment: {},
  });
  const terminal = terminalOf(process_, options);
  const directory = mkdtempSync(join(states.path(container.id), "exec-"));
  try {
    const cgroups = readCgroupLayout();
    const compiled = compileBundleExec({
      containerId: container.id,
      pid: container.pid,
      spec: container.spec,
      process: process_,
      cgroups,
      cgroupOwner: execPlacement(cgroups, container.cgroupOwner, {
        pid: container.pid,
        below: options.cgroups,
      }),
      execDirectory: directory,
      ...(rootless && { rootless }),
      bundle: container.bundle,
      host,
      preserveFds,
      ...(terminal && { terminal }),
      giveStdio:
        terminal === undefined ? stdioToGive(ownerOnHost(container.spec, process_.user.uid, rootless)) : [],
      supervise: options.foreground && terminal === undefined,
    });
    for (const message of processWarnings(process_, host)) warn(message);
    const run = runLauncher({
      launcherPath: launcherPath(),
      program: compiled.program,
      preserveFds,
      exitFile: compiled.exitFile,
    });
    const relayed = terminal?.kind === "relay";
    const ended = options.foreground ? exitCodeOf(run, relayed) : undefined;
    ended?.catch(() => undefined);
    const joined = relayed
      ? run.shim.listening.then(() => joinTerminal(run, join(directory, SOCKET_NAME)))
      : undefined;
    joined?.catch(() => undefined);
    let pid: number;
    try {
      pid = await run.shim.started;
    } catch (cause) {
      run.shim.close();
      await run.ended;
      throw explainRuntimeFailure(compiled, cause, options.process.args?.[0] ?? "");
    }
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    let exitCode = 0;
    if (ended !== undefined) {
      const stop = forwardSignals(pid);
      exitCode = await ended;
      await joined;
      stop();
    }
    run.shim.close();
    return exitCode;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function refuseUnlessRunning(
  states: StateDirectory,
  container: StoredContainer,
  ignorePaused: boolean,
): void {
  const status = statusOf(states, container);
  const refuse = (message: string) =>
    new BerthError("conflict", message, { operation: "exec", object: container.id });
  if (status === "stopped") throw refuse("cannot exec in a stopped container");
  if (status === "paused" && !ignorePaused) {
    throw refuse("cannot exec in a paused container (use --ignore-paused to override)");
  }
}
