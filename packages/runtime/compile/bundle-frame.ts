/**
 * What the OCI command line's launcher does around its child: one process, started with the caller's own stdin, stdout
 * and stderr, that goes away once the container waits for its start (or stays to tell its end).
 *
 * Its connection (register 0) leads to the command line, which is asked at two points for what only it can do: mappings
 * by newuidmap, groups of systemd's, hooks. The container then waits on a socket in the state directory; whoever connects
 * there starts it, and learns over that very connection whether execve has worked.
 */
import { basename, dirname } from "node:path";
import type { Label, Register } from "#program/types.ts";
import { AF_UNIX, AT_FDCWD, ERRNO, SOCK_CLOEXEC, SOCK_STREAM } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { StdioPlan } from "#runtime/launch-types.ts";

/** In the state directory: who connects to it starts the container. */
export const START_SOCKET = "start.sock";

/** Notes of this frame, beside CREATED and STARTED of packages/program/README.md, section 5. */
export const BUNDLE_NOTE = {
  /** The process exists in its namespaces and waits; value: its pid. Answered by one byte. */
  FORKED: 4,
  /** All is mounted, the root not yet changed; value: the pid. Answered by one byte. */
  MOUNTED: 5,
  /** It has ended; value: the wait status. */
  ENDED: 6,
  /** The process is in a new user namespace without mappings; value: its pid. Answered by one byte. */
  UNMAPPED: 7,
} as const;

const SOCKET_MODE_MASK = 0o177;
const USUAL_UMASK = 0o022;

/** Number of the launcher's connection: right behind the descriptors that are handed down. */
const connectionNumber = (preserveFds: number) => 3 + preserveFds;

/** Whatever else the caller had open, and would have left open in a container's first process until execve. */
export function closeForeign(w: ProgramWriter, preserveFds: number): void {
  w.b.sys("close_range", [connectionNumber(preserveFds) + 1, ALL, 0], {
    why: "close what the caller has left open",
  });
}

/**
 * A container that waits for its start holds nothing of the host's but the socket that it waits on, and what is read after
 * that: no connection of its maker's, no directory. All of it moves to the first numbers that are free for it.
 */
export function keepOnly(
  w: ProgramWriter,
  start: Register,
  state: Register | undefined,
  preserveFds: number,
): void {
  const { b, O } = w;
  const first = connectionNumber(preserveFds);
  const why = "hold on to what the start needs only";
  const move = (from: Register, to: number) => {
    // It may lie there already.
    b.sys("dup3", [from, to, O.CLOEXEC], { ignore: ERRNO.EINVAL, why });
    b.set(from, to, why);
  };
  move(start, first);
  if (state !== undefined) move(state, first + 1);
  b.sys("close_range", [first + (state === undefined ? 1 : 2), ALL, 0], { why });
}

const ALL = 0xffff_ffff;

/** Goes to the state directory and listens there for the start. */
export function listenForStart(w: ProgramWriter, directory: string, into: Register): void {
  const { b } = w;
  b.sys("chdir", [b.cstr(directory)], { why: `go to ${directory}` });
  const why = "make the socket that starts the container";
  b.sys("unlinkat", [AT_FDCWD, b.cstr(START_SOCKET), 0], { ignore: ERRNO.ENOENT, why });
  b.sys("socket", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0], { into, why });
  const address = unixAddress(START_SOCKET);
  b.sys("umask", [SOCKET_MODE_MASK], { why });
  b.sys("bind", [into, b.bytes(address), address.length], { why });
  b.sys("umask", [USUAL_UMASK], { why });
  b.sys("listen", [into, 1], { why });
}

/** In the child: waits for the start; failures are reported to whoever started it from here on. */
export function awaitStart(w: ProgramWriter, listener: Register): void {
  const { b } = w;
  w.borrow((connection) => {
    const why = "wait for the start";
    b.sys("accept4", [listener, 0, 0, SOCK_CLOEXEC], { into: connection, why });
    b.set(b.report, connection, "report to who starts it");
  });
  w.close(listener);
}

/** A connection to the socket that takes the terminal, however long its path. */
export function connectConsole(w: ProgramWriter, path: string, into: Register): void {
  const { b } = w;
  const why = `connect to console socket ${path}`;
  b.sys("socket", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0], { into, why });
  b.sys("chdir", [b.cstr(dirname(path))], { why });
  const address = unixAddress(basename(path));
  b.sys("connect", [into, b.bytes(address), address.length], { why });
}

/** struct sockaddr_un with the path in it. */
export function unixAddress(name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  const address = new Uint8Array(2 + text.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(text, 2);
  return address;
}

/** A place where the child waits until its parent has asked the command line. */
export interface Rendezvous {
  parent: Register;
  child: Register;
}

export function makeRendezvous(w: ProgramWriter, name: string): Rendezvous {
  const { b } = w;
  const parent = b.register(`${name}, parent`);
  const child = b.register(`${name}, child`);
  w.pair(parent, child, (room) =>
    b.sys("socketpair", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, room], {
      why: `make the ${name} rendezvous`,
    }),
  );
  return { parent, child };
}

/** The child's side: says that it has come so far, and waits. */
export function meetParent(w: ProgramWriter, { child }: Rendezvous): void {
  const { b } = w;
  b.sys("write", [child, b.cstr("c"), 1], { why: "tell the parent how far it is" });
  b.barrier(child, "wait for the parent");
  w.close(child);
}

/** The parent's side: `meanwhile` is done before the child goes on. One that has failed leads to `failed`, its report. */
export function meetChild(
  w: ProgramWriter,
  { parent, child }: Rendezvous,
  failed: Label,
  meanwhile: () => void,
): void {
  const { b } = w;
  w.close(child);
  w.borrow((length) => {
    const here = b.label("the child is there");
    b.sys("read", [parent, b.scratch(1, 1), 1], { into: length, why: "wait for the child" });
    b.jumpIfNotZero(length, here);
    b.jump(failed);
    b.place(here);
  });
  meanwhile();
  b.sys("write", [parent, b.cstr("g"), 1], { why: "let the child go on" });
  w.close(parent);
}

/** Tells the command line that it is its turn, and waits until it has said to go on. */
export function askCommandLine(w: ProgramWriter, note: number, pid: Register): void {
  w.b.notify(note, pid);
  w.b.barrier(w.b.report, "wait for the command line");
}

/** What a relay has to know of a terminal in the foreground. */
export function relayPlan({ rows, columns }: { rows?: number; columns?: number }): StdioPlan {
  return {
    terminal: true,
    openStdin: true,
    stdinOnce: true,
    expectedAttaches: 1,
    ...(rows !== undefined && columns !== undefined && { rows, columns }),
  };
}

/**
 * What of the standard streams is the host's null device becomes the container's own: no descriptor leads to a mount of
 * the host's. Where the container has none, the host's has to do.
 */
export function reopenNull(w: ProgramWriter, descriptors: readonly number[]): void {
  if (descriptors.length === 0) return;
  const { b, O } = w;
  const done = b.label("the null device is the container's");
  w.borrow((fd) => {
    const flags = O.RDWR | O.NOCTTY | O.NONBLOCK | O.NOFOLLOW;
    w.open("/dev/null", flags, fd, "open the container's null device", { ignore: 0xffff });
    b.jumpIfNegative(fd, done);
    for (const to of descriptors) b.sys("dup3", [fd, to, 0], { why: `make it descriptor ${to}` });
    w.close(fd);
  });
  b.place(done);
}

/** So that the process can open /dev/stdout again. What cannot change hands stays as it is. */
export function giveStdio(w: ProgramWriter, descriptors: readonly number[], uid: number): void {
  for (const fd of descriptors) {
    w.b.sys("fchown", [fd, uid, 0xffff_ffff], {
      ignore: 0xffff,
      why: `give descriptor ${fd} to user ${uid}`,
    });
  }
}
