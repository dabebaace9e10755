/**
 * What every shim does around its child, a container's first process or an exec: control socket, log, stdio, status
 * pipe, and at the end the relay.
 */
import { basename, dirname } from "node:path";
import { encodeFrame } from "#program/frames.ts";
import type { Label, Register } from "#program/types.ts";
import {
  AF_UNIX,
  AT_FDCWD,
  ERRNO,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_STREAM,
} from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { LogPlan, StdioPlan } from "#runtime/launch-types.ts";

/** Note kinds of a shim (packages/program/README.md). */
export const NOTE = { LISTENING: 1, CREATED: 2, STARTED: 3 } as const;

/** Names in the exec directory, which is the shim's working directory. */
export const SOCKET_NAME = "shim.sock";
export const EXIT_NAME = "exit";

const BACKLOG = 64;
const SOCKET_MODE_MASK = 0o177;
const USUAL_UMASK = 0o022;
const LOG_MODE = 0o640;

/**
 * Goes to the exec directory and listens there; the socket is for root alone from its first moment. It ends here if who
 * launched it has gone: his successor may have looked already and seen nobody, and would not know of what was made now.
 */
export function listen(w: ProgramWriter, execDirectory: string, into: Register): void {
  const { b } = w;
  b.sys("chdir", [b.cstr(execDirectory)], { why: `go to ${execDirectory}` });
  const name = b.cstr(SOCKET_NAME);
  const why = `listen on ${SOCKET_NAME}`;
  b.sys("unlinkat", [AT_FDCWD, name, 0], { ignore: ERRNO.ENOENT, why: `remove an old ${SOCKET_NAME}` });
  b.sys("socket", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0], { into, why });
  const address = new Uint8Array(2 + SOCKET_NAME.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(new TextEncoder().encode(SOCKET_NAME), 2);
  b.sys("umask", [SOCKET_MODE_MASK], { why });
  b.sys("bind", [into, b.bytes(address), address.length], { why });
  b.sys("umask", [USUAL_UMASK], { why });
  b.sys("listen", [into, BACKLOG], { why });
  const note = encodeFrame({ kind: "note", note: NOTE.LISTENING, value: 0n });
  b.sys("sendto", [b.report, b.bytes(note), note.length, MSG_NOSIGNAL, 0, 0], {
    full: true,
    why: "tell who launched this where it can be reached",
  });
}

/** Ends of the pipes, or the sockets a pty master travels over. */
export interface Stdio {
  terminal: boolean;
  /** The shim's: what it writes to and reads from. */
  input?: Register;
  output?: Register;
  error?: Register;
  /** The child's: what become its descriptors 0, 1 and 2. */
  stdin?: Register;
  stdout?: Register;
  stderr?: Register;
  /** The pty master goes from the child to the shim. */
  send?: Register;
  receive?: Register;
}

export function makeStdio(w: ProgramWriter, plan: StdioPlan): Stdio {
  const { b } = w;
  if (plan.terminal) {
    const receive = b.register("terminal from child");
    const send = b.register("terminal to shim");
    const why = "make the socket pair for the terminal";
    w.pair(receive, send, (room) =>
      b.sys("socketpair", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, room], { why }),
    );
    return { terminal: true, receive, send };
  }
  const stdio: Required<Pick<Stdio, "output" | "error" | "stdin" | "stdout" | "stderr">> & Stdio = {
    terminal: false,
    stdin: b.register("stdin"),
    output: b.register("stdout, read end"),
    stdout: b.register("stdout"),
    error: b.register("stderr, read end"),
    stderr: b.register("stderr"),
  };
  if (plan.openStdin) {
    const input = b.register("stdin, write end");
    stdio.input = input;
    w.pipe(stdio.stdin, input, "make the pipe for stdin");
  } else {
    w.open("/dev/null", w.O.RDONLY, stdio.stdin, "open /dev/null for stdin");
  }
  w.pipe(stdio.output, stdio.stdout, "make the pipe for stdout");
  w.pipe(stdio.error, stdio.stderr, "make the pipe for stderr");
  return stdio;
}

/** The shim keeps only its own ends. */
export function closeChildEnds(w: ProgramWriter, stdio: Stdio): void {
  for (const end of [stdio.stdin, stdio.stdout, stdio.stderr, stdio.send])
    if (end !== undefined) w.close(end);
}

/** The log as the relay gets it. */
export interface OpenLog {
  fd: Register;
  format: LogPlan["format"];
  attrs: string;
  rotation?: { directory: Register; name: string; limit: number; files: number };
}

export function openLog(w: ProgramWriter, log: LogPlan): OpenLog | undefined {
  if (log.format === "none") return undefined;
  const { O } = w;
  const fd = w.b.register("log");
  w.open(log.path, O.WRONLY | O.APPEND | O.CREAT, fd, `open log ${log.path}`, { mode: LOG_MODE });
  const opened: OpenLog = { fd, format: log.format, attrs: log.attrs };
  if (log.rotation === undefined) return opened;
  const directory = w.b.register("log directory");
  w.open(dirname(log.path), O.RDONLY | O.DIRECTORY, directory, `open the directory of ${log.path}`);
  return { ...opened, rotation: { directory, name: basename(log.path), ...log.rotation } };
}

export interface Ending {
  stdio: Stdio;
  plan: StdioPlan;
  pid: Register;
  statusPipe: Register;
  listener: Register;
  log: OpenLog | undefined;
  closeOnExit: boolean;
  /** Where the shim goes on when the child has reported a failure before. */
  failed?: Label;
}

/** Waits for execve, tells, and becomes the relay. */
export function relay(w: ProgramWriter, ending: Ending): void {
  const { b } = w;
  const { stdio, plan, pid, statusPipe, listener, log } = ending;
  if (ending.failed !== undefined) b.place(ending.failed);
  b.awaitExec(statusPipe, pid);
  w.close(statusPipe);
  let { input, output } = stdio;
  if (stdio.receive !== undefined) {
    // Sent before the child's execve, so it is there.
    const master = b.register("terminal");
    b.receiveFd(stdio.receive, master, "receive the terminal");
    w.close(stdio.receive);
    output = master;
    input = master;
  }
  b.notify(NOTE.STARTED, pid);
  b.relay({
    pid,
    terminal: plan.terminal,
    logJson: log?.format === "json-file",
    logLocal: log?.format === "local",
    stdinOnce: plan.stdinOnce,
    closeOnExit: ending.closeOnExit,
    ...((plan.openStdin || plan.terminal) && input !== undefined && { stdin: input }),
    ...(output !== undefined && { stdout: output }),
    ...(stdio.error !== undefined && { stderr: stdio.error }),
    ...(log !== undefined && { log: log.fd }),
    listen: listener,
    expectedAttaches: plan.expectedAttaches,
    exitPath: EXIT_NAME,
    unlinkPath: SOCKET_NAME,
    ...(log !== undefined && log.attrs !== "" && { logAttrs: log.attrs }),
    ...(log?.rotation !== undefined && { logRotation: log.rotation }),
  });
}
