/**
 * What the launcher's tests share: a launcher built from the sources as they are, a zygote in a directory of its own,
 * and a program that does what a container's does as far as the launcher is concerned: control socket, stdio, fork,
 * execve, relay.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { errnoName } from "#program/errno.ts";
import { FrameParser, type ShimFrame } from "#program/frames.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { AttachStreams, LauncherClient } from "#program/launcher-client.types.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import type { Program, ProgramBuilder, Register } from "#program/types.ts";
import { connectUnix } from "#program/unix-connect.ts";

export interface Fixture extends Disposable {
  readonly directory: string;
  readonly launcherPath: string;
  readonly socketPath: string;
  readonly client: LauncherClient;
  /** A path in the directory. */
  path(name: string): string;
  read(name: string): string;
}

/** Builds, and starts a zygote. It ends when the fixture is disposed of, since its socket goes with the directory. */
export async function createFixture(): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), "berth-launcher-"));
  execFileSync("sh", [join(import.meta.dirname, "../build.sh"), directory], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const launcherPath = join(directory, "launcher");
  const socketPath = join(directory, "launcher.sock");
  const client = createLauncherClient({ launcherPath, socketPath });
  await client.ensureZygote();
  return {
    directory,
    launcherPath,
    socketPath,
    client,
    path: (name) => join(directory, name),
    read: (name) => readFileSync(join(directory, name), "utf8"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

export interface ProcessOptions {
  argv: string[];
  /** Directory for shim.sock and exit. */
  directory: string;
  terminal?: boolean;
  stdin?: boolean;
  stdinOnce?: boolean;
  closeOnExit?: boolean;
  expectedAttaches?: number;
  /** Path of the log. */
  log?: string;
  /** Raw bytes instead of json-file. */
  logRaw?: boolean;
  /** Entries of the local form instead of json-file. */
  logLocal?: boolean;
  logAttrs?: string;
  /** A new log file at so many bytes, and so many files. */
  logRotation?: { limit: number; files: number };
  /** The file system has room for this many bytes of log, and no more. */
  logLimit?: number;
}

const CLOEXEC = 0o2000000;
const O = { RDWR: 2, WRONLY: 1, CREAT: 0o100, APPEND: 0o2000, NOCTTY: 0o400 } as const;
const AT_FDCWD = -100;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SIGXFSZ = 25;
const RLIMIT_FSIZE = 1;
const TIOCSCTTY = 0x540e;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;

/** Runs argv under a relay. The path of the control socket must be short enough for an address. */
export function processProgram(options: ProcessOptions): Program {
  const b = createProgramBuilder();
  const socket = join(options.directory, "shim.sock");
  const listen = b.register("listen");
  const pid = b.register("pid");
  const child = b.label("child");
  const address = new Uint8Array(110);
  address[0] = AF_UNIX;
  new TextEncoder().encodeInto(socket, address.subarray(2));

  b.sys("socket", [AF_UNIX, SOCK_STREAM | CLOEXEC, 0], { into: listen, why: "make the control socket" });
  b.sys("bind", [listen, b.bytes(address), address.length], { why: `bind ${socket}` });
  b.sys("listen", [listen, 16], { why: "listen on the control socket" });
  const stdio = options.terminal ? terminal(b) : pipes(b, options.stdin ?? false);
  let log: Register | undefined;
  if (options.log !== undefined) {
    log = b.register("log");
    const flags = O.WRONLY | O.CREAT | O.APPEND | CLOEXEC;
    b.sys("openat", [AT_FDCWD, b.cstr(options.log), flags, 0o640], { into: log, why: "open the log" });
  }
  let logDirectory: Register | undefined;
  if (options.log !== undefined && options.logRotation !== undefined) {
    logDirectory = b.register("log directory");
    b.sys("openat", [AT_FDCWD, b.cstr(dirname(options.log)), CLOEXEC], {
      into: logDirectory,
      why: "open the log's directory",
    });
  }
  const [statusRead, statusWrite] = pipe(b, "status");
  b.fork({ flags: 0, into: pid, child, why: "fork" });
  for (const register of [...stdio.inside, statusWrite]) close(b, register);
  b.notify(1, 0);
  b.notify(2, pid);
  b.awaitExec(statusRead, pid);
  close(b, statusRead);
  b.notify(3, pid);
  if (options.logLimit !== undefined) limitFileSize(b, options.logLimit);
  b.relay({
    pid,
    terminal: options.terminal ?? false,
    logJson: !(options.logRaw ?? false) && !(options.logLocal ?? false),
    logLocal: options.logLocal ?? false,
    stdinOnce: options.stdinOnce ?? false,
    closeOnExit: options.closeOnExit ?? false,
    expectedAttaches: options.expectedAttaches ?? 0,
    exitPath: join(options.directory, "exit"),
    unlinkPath: socket,
    listen,
    ...stdio.outside,
    ...(log && { log }),
    ...(options.logAttrs && { logAttrs: options.logAttrs }),
    ...(logDirectory &&
      options.logRotation && {
        logRotation: {
          directory: logDirectory,
          name: basename(options.log ?? ""),
          ...options.logRotation,
        },
      }),
  });

  b.place(child);
  b.set(b.report, statusWrite, "report over the status pipe");
  b.sys("setsid", [], { why: "begin a session" });
  const [input, output, error] = stdio.child;
  b.sys("dup3", [input, 0, 0], { why: "put stdin in place" });
  b.sys("dup3", [output, 1, 0], { why: "put stdout in place" });
  b.sys("dup3", [error, 2, 0], { why: "put stderr in place" });
  if (options.terminal) b.sys("ioctl", [0, TIOCSCTTY, 0], { why: "take the terminal" });
  b.sys("close_range", [3, 0xffffffff, 4], { why: "let no descriptor through" });
  const [file = ""] = options.argv;
  const environment = [`PATH=${process.env.PATH ?? ""}`];
  b.sys("execve", [b.cstr(file), b.cstrArray(options.argv), b.cstrArray(environment)], {
    why: `run ${file}`,
  });
  return b.finish();
}

/** As good as a full disk: writes end short at the limit, and then fail. */
function limitFileSize(b: ProgramBuilder, limit: number): void {
  const both = new BigUint64Array([BigInt(limit), BigInt(limit)]);
  const ignore = new BigUint64Array([1n, 0n, 0n, 0n]);
  b.sys("rt_sigaction", [SIGXFSZ, b.bytes(new Uint8Array(ignore.buffer)), 0, 8], {
    why: "take the error, not the signal",
  });
  b.sys("prlimit64", [0, RLIMIT_FSIZE, b.bytes(new Uint8Array(both.buffer)), 0], { why: "limit the log" });
}

interface Stdio {
  inside: Register[];
  outside: { stdin?: Register; stdout?: Register; stderr?: Register };
  child: [Register, Register, Register];
}

function pipes(b: ProgramBuilder, withStdin: boolean): Stdio {
  const [outRead, outWrite] = pipe(b, "stdout");
  const [errRead, errWrite] = pipe(b, "stderr");
  if (withStdin) {
    const [inRead, inWrite] = pipe(b, "stdin");
    return {
      inside: [inRead, outWrite, errWrite],
      outside: { stdin: inWrite, stdout: outRead, stderr: errRead },
      child: [inRead, outWrite, errWrite],
    };
  }
  const nothing = b.register("null");
  b.sys("openat", [AT_FDCWD, b.cstr("/dev/null"), O.RDWR | CLOEXEC], {
    into: nothing,
    why: "open /dev/null",
  });
  return {
    inside: [nothing, outWrite, errWrite],
    outside: { stdout: outRead, stderr: errRead },
    child: [nothing, outWrite, errWrite],
  };
}

function terminal(b: ProgramBuilder): Stdio {
  const master = b.register("master");
  const slave = b.register("slave");
  b.sys("openat", [AT_FDCWD, b.cstr("/dev/ptmx"), O.RDWR | O.NOCTTY | CLOEXEC], {
    into: master,
    why: "open a terminal",
  });
  b.sys("ioctl", [master, TIOCSPTLCK, b.scratch(4)], { why: "unlock the terminal" });
  b.sys("ioctl", [master, TIOCGPTPEER, O.RDWR | O.NOCTTY | CLOEXEC], {
    into: slave,
    why: "open its other end",
  });
  return { inside: [slave], outside: { stdin: master, stdout: master }, child: [slave, slave, slave] };
}

/** Read end, write end. */
export function pipe(b: ProgramBuilder, name: string): [Register, Register] {
  const room = b.scratch(8);
  const read = b.register(`${name} read`);
  const write = b.register(`${name} write`);
  b.sys("pipe2", [room, CLOEXEC], { why: `make the ${name} pipe` });
  b.load(read, b.slice(room, 0, 4), 4);
  b.load(write, b.slice(room, 4, 4), 4);
  return [read, write];
}

export function close(b: ProgramBuilder, register: Register): void {
  b.sys("close", [register], { why: `close ${register.name}` });
}

export const ALL: AttachStreams = { stdin: true, stdout: true, stderr: true };
export const OUTPUT: AttachStreams = { stdin: false, stdout: true, stderr: true };

/** All bytes until the other side ends. */
export async function collect(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Docker's multiplexed stream taken apart. Throws if it is cut. */
export function demultiplex(bytes: Buffer): { stdout: string; stderr: string } {
  const parts: Record<number, Buffer[]> = { 1: [], 2: [] };
  let at = 0;
  while (at < bytes.length) {
    const length = bytes.readUInt32BE(at + 4);
    if (at + 8 + length > bytes.length) throw new Error("a frame is cut off");
    parts[bytes[at] ?? 0]?.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  const text = (stream: number) => Buffer.concat(parts[stream] ?? []).toString();
  return { stdout: text(1), stderr: text(2) };
}

/** Sends bytes to the zygote and answers all frames until the shim closes the connection. */
export async function exchange(fixture: Fixture, bytes: Uint8Array): Promise<ShimFrame[]> {
  const socket = connectUnix(fixture.socketPath);
  socket.end(bytes);
  return new FrameParser().push(await collect(socket));
}

/** Values of a program's notes by note kind, after it ran to its end without failing. */
export async function notesOf(fixture: Fixture, program: Program): Promise<Map<number, bigint>> {
  const notes = new Map<number, bigint>();
  for (const frame of await exchange(fixture, program.bytes)) {
    if (frame.kind === "failed") throw new Error(program.explain(frame.instruction, frame.errno));
    if (frame.kind !== "note") throw new Error(`unexpected frame ${frame.kind}`);
    notes.set(frame.note, frame.value);
  }
  return notes;
}

/** The failure a program ends with: its label and the name of the errno. */
export async function failureOf(
  fixture: Fixture,
  program: Program,
): Promise<{ label: string; errno: string }> {
  const last = (await exchange(fixture, program.bytes)).at(-1);
  if (last?.kind !== "failed") throw new Error(`the program did not fail: ${last?.kind}`);
  return { label: program.labels[last.instruction] ?? "", errno: errnoName(last.errno) };
}

/** Waits for something outside of the test's own promises: a file, a process. Fails after ten seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 90_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
