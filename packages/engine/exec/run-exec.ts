/**
 * The run of an exec, whoever asked for it: a user, or a health check. Registers it, launches it, follows it to its
 * end and tells the events. Holds no state but the registry in the context.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecCreateRequest } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import { execDirectory } from "#engine/containers/container-paths.ts";
import { discardDirectory } from "#engine/discard-directory.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import type { Exec } from "#engine/exec/exec.ts";
import { prepareExec } from "#engine/exec/prepare-exec.ts";
import { BerthError } from "#errors/errors.ts";
import { compileExec } from "#runtime/compile-exec.ts";
import { explainExecFailure } from "#runtime/explain.ts";
import type { CompiledLaunch } from "#runtime/launch-types.ts";

/** How long an ended exec can still be inspected (dockerd's clean-up interval). */
const KEPT_MS = 5 * 60_000;

/** In the directory of an exec that a daemon's end makes pointless: the next one kills it. */
export const PROBE_MARK = "probe";

/** In the directory of an exec with a terminal that its client has not been given yet: no other ever could be. */
export const UNSEEN_MARK = "unseen";

/** Registers an exec that has not been started. */
export function addExec(
  context: EngineContext,
  container: Container,
  request: ExecCreateRequest,
  { isProbe = false }: { isProbe?: boolean } = {},
): Exec {
  const exec: Exec = {
    id: randomBytes(32).toString("hex"),
    container,
    request,
    isProbe,
    state: "created",
    exitCode: null,
    pid: 0,
    shim: undefined,
    ended: Promise.resolve(),
  };
  context.execs.set(exec.id, exec);
  container.execIds.add(exec.id);
  publishContainerEvent(context, container, `exec_create: ${commandLine(exec)}`, { execID: exec.id });
  return exec;
}

export interface RunOptions {
  expectedAttaches: number;
  consoleSize?: [number, number] | undefined;
  attach?: (controlSocket: string) => Promise<void>;
}

/**
 * Launches; resolves once the process runs. `attach` is called when the shim listens and has to make as many
 * connections as are expected.
 */
export async function runExec(context: EngineContext, exec: Exec, options: RunOptions): Promise<void> {
  exec.state = "running";
  try {
    await context.launches.run(() => launch(context, exec, options));
  } catch (error) {
    endExec(context, exec, error instanceof BerthError && "exitCode" in error ? Number(error.exitCode) : 126);
    throw error;
  }
}

async function launch(context: EngineContext, exec: Exec, options: RunOptions): Promise<void> {
  const directory = execDirectory(context.config, exec.id);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (exec.isProbe) writeFileSync(join(directory, PROBE_MARK), "");
  if (exec.request.Tty && options.attach !== undefined) writeFileSync(join(directory, UNSEEN_MARK), "");
  const reserved = context.launcher.reserve();
  let compiled: CompiledLaunch;
  try {
    const { expectedAttaches, consoleSize } = options;
    compiled = compileExec(await prepareExec(context, exec, directory, expectedAttaches, consoleSize));
  } catch (error) {
    reserved.giveUp();
    throw error;
  }
  const shim = context.launcher.launch(compiled.program, compiled.controlSocket, reserved);
  exec.shim = shim;
  const { attach } = options;
  if (attach !== undefined) {
    shim.listening.then(() => attach(compiled.controlSocket)).catch(() => undefined);
  }
  try {
    exec.pid = await shim.started;
  } catch (cause) {
    throw explainExecFailure(compiled, cause, exec.request.Cmd?.[0] ?? "");
  }
  publishContainerEvent(context, exec.container, `exec_start: ${commandLine(exec)}`, { execID: exec.id });
  exec.ended = shim.exited.then((exit) => endExec(context, exec, exit.exitCode));
}

/** The container has ended: those that were never started never will be. */
export function forgetUnstarted(context: EngineContext, container: Container): void {
  for (const id of container.execIds) {
    if (context.execs.get(id)?.state !== "created") continue;
    context.execs.delete(id);
    container.execIds.delete(id);
  }
}

function endExec(context: EngineContext, exec: Exec, exitCode: number): void {
  exec.state = "ended";
  exec.exitCode = exitCode;
  exec.shim?.close();
  exec.shim = undefined;
  publishContainerEvent(context, exec.container, "exec_die", {
    execID: exec.id,
    exitCode: String(exitCode),
  });
  const directory = execDirectory(context.config, exec.id);
  void context.background.run("clean-up after an exec", () => discardDirectory(directory));
  exec.container.execIds.delete(exec.id);
  // Nobody asks for those of health checks, and there are many.
  if (exec.isProbe) context.execs.delete(exec.id);
  else setTimeout(() => context.execs.delete(exec.id), KEPT_MS).unref();
}

function commandLine({ request }: Exec): string {
  const [program = "", ...args] = request.Cmd ?? [];
  // With the space after a program alone, as Docker has it.
  return `${program} ${args.join(" ")}`;
}
