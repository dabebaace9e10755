/**
 * A start that failed, in the words Docker's clients and scripts look for, with the exit code Docker gives it: 127 for a
 * command that isn't there, 126 for one that cannot be run, 128 for everything else.
 */
import { BerthError, type ErrorDetail } from "#errors/errors.ts";
import { errnoText } from "#program/errno.ts";
import { LaunchError } from "#program/launch-error.ts";
import type { Program } from "#program/types.ts";
import { HOOK_FAILED } from "#runtime/compile/child-hooks.ts";
import { IDMAP_LABEL } from "#runtime/compile/id-mapped-mounts.ts";
import { CWD_LABEL } from "#runtime/compile/process-start.ts";
import type { CompiledLaunch } from "#runtime/launch-types.ts";

const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const ENOTDIR = 20;
const EINVAL = 22;

const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
const NOT_STARTED = 128;

export class StartError extends BerthError {
  /** Exit code of the container or exec that never ran. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number, detail: ErrorDetail) {
    super("start-failed", message, detail);
    this.name = "StartError";
    this.exitCode = exitCode;
  }
}

/** For a container's start. `command` is its first argument. Errors that are no failed instruction come back as they are. */
export function explainStartFailure(compiled: CompiledLaunch, cause: unknown, command: string): unknown {
  if (!(cause instanceof LaunchError)) return cause;
  const { reason, exitCode, hint } = explain(compiled, cause, command);
  const message =
    "failed to create task for container: failed to create shim task: OCI runtime create failed: " +
    `runc create failed: unable to start container process: ${reason}: unknown`;
  return new StartError(message, exitCode, { operation: "start container", object: command, cause, ...hint });
}

/** The same for an exec. */
export function explainExecFailure(compiled: CompiledLaunch, cause: unknown, command: string): unknown {
  if (!(cause instanceof LaunchError)) return cause;
  const { reason, exitCode, hint } = explain(compiled, cause, command);
  const message = `OCI runtime exec failed: exec failed: unable to start container process: ${reason}: unknown`;
  // An exec always reports 126 or 127: there is no 128 among Docker's.
  const code = exitCode === NOT_STARTED ? NOT_EXECUTABLE : exitCode;
  return new StartError(message, code, { operation: "start exec", object: command, cause, ...hint });
}

/** For the runtime's own command line: the reason alone, as "start-failed". */
export function explainRuntimeFailure(compiled: Explainable, cause: unknown, command: string): unknown {
  if (!(cause instanceof LaunchError)) return cause;
  const { reason, hint } = explain(compiled, cause, command);
  return new BerthError("start-failed", `unable to start container process: ${reason}`, {
    operation: "start container",
    object: command,
    cause,
    ...hint,
  });
}

/** What of a compiled launch explains its failures. */
export interface Explainable {
  program: Pick<Program, "explain">;
  execveInstructions: readonly number[];
}

interface Explanation {
  reason: string;
  exitCode: number;
  hint: { hint?: string };
}

function explain(compiled: Explainable, cause: LaunchError, command: string): Explanation {
  const { instruction, errno, label } = cause;
  if (compiled.execveInstructions.includes(instruction)) return explainExecve(errno, command);
  if (label.startsWith(CWD_LABEL)) {
    const exitCode = errno === EACCES || errno === ENOTDIR ? NOT_EXECUTABLE : NOT_FOUND;
    const reason = `${label} set in config.json failed: ${errnoText(errno)}`;
    return { reason, exitCode, hint: {} };
  }
  if (label.startsWith(`${HOOK_FAILED}: `)) {
    const reason = `error running ${label.slice(HOOK_FAILED.length + 2)}`;
    return { reason, exitCode: NOT_STARTED, hint: {} };
  }
  if (label.startsWith(IDMAP_LABEL)) {
    const reason = `failed to set MOUNT_ATTR_IDMAP on ${label.slice(IDMAP_LABEL.length + 1)}: ${errnoText(errno)}`;
    const hint = "its file system, or this kernel, may have no id-mapped mounts";
    return { reason, exitCode: NOT_STARTED, hint: errno === EINVAL ? { hint } : {} };
  }
  const mount = explainMount(label, errno);
  if (mount !== undefined) return mount;
  const hint =
    errno === EPERM ? { hint: `the kernel refused it: ${compiled.program.explain(instruction, errno)}` } : {};
  return {
    reason: `error during container init: ${label}: ${errnoText(errno)}`,
    exitCode: NOT_STARTED,
    hint,
  };
}

function explainExecve(errno: number, command: string): Explanation {
  const quoted = JSON.stringify(command);
  const path = command.includes("/");
  if (!path && (errno === ENOENT || errno === EACCES || errno === ENOTDIR)) {
    const reason = `exec: ${quoted}: executable file not found in $PATH`;
    return { reason, exitCode: NOT_FOUND, hint: {} };
  }
  if (errno === ENOENT) {
    const reason = `exec: ${quoted}: stat ${command}: no such file or directory`;
    const hint = "the file may be there and its interpreter (the #! line, the dynamic loader) missing";
    return { reason, exitCode: NOT_FOUND, hint: { hint } };
  }
  return { reason: `exec: ${quoted}: ${errnoText(errno)}`, exitCode: NOT_EXECUTABLE, hint: {} };
}

const bindLabel = /^(bind mount .* on|open mount point|bind mount source path) (\/.*?)(: .*)?$/;

function explainMount(label: string, errno: number): Explanation | undefined {
  const match = bindLabel.exec(label);
  if (match === null) return undefined;
  const kindMismatch = errno === ENOTDIR || errno === EINVAL;
  const reason =
    `error during container init: error mounting: ${label}: ${kindMismatch ? errnoText(ENOTDIR) : errnoText(errno)}` +
    (kindMismatch
      ? ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
      : "");
  return { reason, exitCode: errno === ENOENT ? NOT_FOUND : NOT_STARTED, hint: {} };
}
