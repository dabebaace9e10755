/**
 * Runs a program to its end without holding up the event loop.
 *
 * Node's own spawn forks, and a fork copies the page tables of the whole process: ten milliseconds and more of the
 * daemon's only thread for a program that then runs for three. posix_spawn(3) shares the memory until the new program is
 * there. Owns the process until it is reaped; nobody else may wait for it.
 */
import { channel } from "node:diagnostics_channel";
import { accessSync, constants } from "node:fs";
import { Socket } from "node:net";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ERRNO } from "#kernel/errno.ts";
import { fail, libcFunction } from "#kernel/libc.ts";
import { makePipe, type Pipe } from "#kernel/pipes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

const cSpawn = libcFunction(
  "int posix_spawn(int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
const cActionsInit = libcFunction("int posix_spawn_file_actions_init(void *actions)");
const cActionsDup2 = libcFunction("int posix_spawn_file_actions_adddup2(void *actions, int fd, int newFd)");
const cActionsDestroy = libcFunction("int posix_spawn_file_actions_destroy(void *actions)");
const cAttributesInit = libcFunction("int posix_spawnattr_init(void *attributes)");
const cSetFlags = libcFunction("int posix_spawnattr_setflags(void *attributes, short flags)");
const cSetDefaults = libcFunction("int posix_spawnattr_setsigdefault(void *attributes, void *signals)");
const cSetMask = libcFunction("int posix_spawnattr_setsigmask(void *attributes, void *signals)");
const cWaitpid = libcFunction("int waitpid(int pid, int *status, int options)");

/** spawn.h. */
const POSIX_SPAWN_SETSIGDEF = 4;
const POSIX_SPAWN_SETSIGMASK = 8;
/** Bytes, more than any C library's structures have (glibc: 80 and 336). */
const ROOM = 1024;
/** sigset_t. */
const SIGNALS = 128;
const WNOHANG = 1;
/** How often a process is looked for that has closed its output, ms; mostly it has ended by then. */
const REAP_EVERY = 1;
const PIPE_SIZE = 65_536;

/** Tells the name of every program that is started, as Node's channel "child_process" does of its own. */
const started = channel("berth.run-command");

export interface CommandOptions {
  /** What it reads. */
  input: string;
  env: Readonly<Record<string, string>>;
  /** Milliseconds after which it is killed. */
  timeout: number;
}

export interface CommandEnd {
  /** Undefined where a signal ended it. */
  status: number | undefined;
  signal: string | undefined;
  output: string;
  complaints: string;
}

/**
 * Resolves with its end once it has closed its output and is gone. Rejects with a SyscallError where it cannot be started:
 * ENOENT for a name that is in no directory of `env.PATH`.
 */
export async function runCommand(
  name: string,
  args: readonly string[],
  { input, env, timeout }: CommandOptions,
): Promise<CommandEnd> {
  const file = find(name, env.PATH ?? "");
  // What is not given away below: there may be descriptors for one pipe and none for the next.
  using ends = new DisposableStack();
  const [stdin, stdout, stderr] = [pipeIn(ends), pipeIn(ends), pipeIn(ends)];
  const descriptors = [stdin.read.number, stdout.write.number, stderr.write.number];
  const pid = start(file, [name, ...args], env, descriptors);
  started.publish({ name });
  for (const end of [stdin.read, stdout.write, stderr.write]) end.close();
  const timer = setTimeout(() => process.kill(pid, "SIGKILL"), timeout);
  const writer = new Socket({ fd: stdin.write.release(), readable: false, writable: true });
  // One that ends early is told of by its status, not by the broken pipe.
  writer.on("error", () => {});
  writer.end(input);
  const [output, complaints] = await Promise.all([
    gather(stdout.read.release()),
    gather(stderr.read.release()),
  ]);
  const ended = await reap(pid);
  clearTimeout(timer);
  writer.destroy();
  return { ...ended, output, complaints };
}

function pipeIn(stack: DisposableStack): Pipe {
  const pipe = makePipe(PIPE_SIZE);
  stack.use(pipe.read);
  stack.use(pipe.write);
  return pipe;
}

function find(name: string, path: string): string {
  for (const directory of path.split(":")) {
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // In another one.
    }
  }
  throw new SyscallError("execve", ERRNO.ENOENT, [name]);
}

function start(
  file: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  descriptors: readonly number[],
): number {
  const actions = Buffer.alloc(ROOM);
  const attributes = Buffer.alloc(ROOM);
  cActionsInit(actions);
  try {
    for (const [number, fd] of descriptors.entries()) cActionsDup2(actions, fd, number);
    cAttributesInit(attributes);
    // Node ignores SIGPIPE, and what is ignored stays so in a new program.
    cSetDefaults(attributes, Buffer.alloc(SIGNALS, 0xff));
    cSetMask(attributes, Buffer.alloc(SIGNALS));
    cSetFlags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    const pid = new Int32Array(1);
    const envp = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const errno = cSpawn(pid, file, actions, attributes, [...argv, null], [...envp, null]);
    if (errno !== 0) throw new SyscallError("posix_spawn", errno, [file]);
    return pid[0] ?? 0;
  } finally {
    cActionsDestroy(actions);
  }
}

function gather(fd: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = new Socket({ fd, readable: true, writable: false });
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => pieces.push(piece));
  socket.on("error", () => {});
  socket.on("close", () => resolve(Buffer.concat(pieces).toString()));
  return promise;
}

async function reap(pid: number): Promise<Pick<CommandEnd, "status" | "signal">> {
  const word = new Int32Array(1);
  for (;;) {
    const found = cWaitpid(pid, word, WNOHANG);
    if (found < 0) fail("waitpid", [pid]);
    if (found === pid) break;
    await sleep(REAP_EVERY);
  }
  // wait(2): the lower seven bits are the signal, the next byte the status.
  const [value = 0] = word;
  const number = value & 0x7f;
  const signal = Object.entries(osConstants.signals).find(([, each]) => each === number)?.[0];
  return number === 0 ? { status: (value >> 8) & 0xff, signal: undefined } : { status: undefined, signal };
}
