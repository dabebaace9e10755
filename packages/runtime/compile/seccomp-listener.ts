/**
 * User notification (config-linux.md, "The Container Process State"): a filter that asks somebody outside. The child
 * installs it and gets a listener; its parent takes that descriptor out of the child and sends it to the agent's socket,
 * with who it is about. Pure.
 *
 * The child says by one write(2) that there is a listener, and waits. So a profile may do with every other call as it
 * pleases, that one's answer must not be the agent's. Without root's rights the parent may not take anything out of a
 * child that is not to be looked into: the child has to send it, and sendmsg(2) is the second such call.
 */
import { BerthError } from "#errors/errors.ts";
import type { Label, Register } from "#program/types.ts";
import { makeRendezvous, type Rendezvous, unixAddress } from "#runtime/compile/bundle-frame.ts";
import { AF_UNIX, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_STREAM } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import { asksFor, notifies } from "#runtime/seccomp/compile-filter.ts";
import type { Spec } from "#runtime/spec-types.ts";
import { SPEC_VERSION } from "#runtime/spec-version.ts";

/** Longest path in an address of a unix socket, NUL excluded. */
const PATH_ROOM = 107;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** struct msghdr, struct iovec, and a struct cmsghdr with one descriptor behind it, 64-bit. */
const MSGHDR = { size: 56, iov: 16, count: 24, control: 32, controlLength: 40 } as const;
const IOVEC = { size: 16, length: 8 } as const;
const CMSG = { size: 24, length: 20, fd: 16 } as const;
const DECIMAL_ROOM = 21;

/** Whose calls they are. */
export interface NotifiedProcess {
  id: string;
  spec: Spec;
  /** Directory of the bundle. */
  bundle: string;
  /** For a further process: the container's first one. */
  containerPid?: number;
  /** The parent is no root. */
  rootless: boolean;
}

export interface Listening {
  process: NotifiedProcess;
  meeting: Rendezvous;
}

/** Undefined for a configuration that notifies nobody. Before the fork. Throws "invalid" for a path that cannot be. */
export function planListener(w: ProgramWriter, process: NotifiedProcess): Listening | undefined {
  const { seccomp } = process.spec.linux ?? {};
  if (seccomp === undefined || !notifies(seccomp)) return undefined;
  const path = seccomp.listenerPath ?? "";
  // None at all is the filter's compiler's to refuse.
  if (path === "") return undefined;
  if (!path.startsWith("/") || path.includes("\0") || Buffer.byteLength(path) > PATH_ROOM) {
    const message = `linux.seccomp.listenerPath: ${JSON.stringify(path)} is not an absolute path of at most ${PATH_ROOM} bytes`;
    throw new BerthError("invalid", message, { operation: "compile seccomp filter" });
  }
  if (process.rootless && asksFor(seccomp, "sendmsg")) {
    const message =
      "linux.seccomp: SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall without root's rights";
    throw new BerthError("invalid", message, { operation: "compile seccomp filter" });
  }
  return { process, meeting: makeRendezvous(w, "seccomp listener") };
}

/** In the child, right behind the filter. */
export function announceListener(
  w: ProgramWriter,
  { meeting, process }: Listening,
  listener: Register,
): void {
  const { b } = w;
  const room = b.scratch(8, 8);
  b.store(listener, room, 8);
  b.sys("write", [meeting.child, room, 8], { full: true, why: "tell of the seccomp listener" });
  if (process.rootless) b.sendFd(meeting.child, listener, "send the seccomp listener to the parent");
  b.barrier(meeting.child, "wait until the seccomp agent has its listener");
  w.close(meeting.child);
  w.close(listener);
}

/** In the parent: waits for the child's filter, and hands its listener on. A child that has failed leads to `failed`. */
export function passListener(
  w: ProgramWriter,
  { process, meeting }: Listening,
  pid: Register,
  failed: Label,
): void {
  const { b } = w;
  const { seccomp } = process.spec.linux ?? {};
  const path = seccomp?.listenerPath ?? "";
  const room = b.scratch(8, 8);
  w.close(meeting.child);
  w.borrow((length) => {
    const here = b.label("there is a seccomp listener");
    b.sys("read", [meeting.parent, room, 8], { into: length, why: "wait for the seccomp listener" });
    b.jumpIfNotZero(length, here);
    b.jump(failed);
    b.place(here);
  });
  w.borrow((listener) => {
    if (process.rootless)
      b.receiveFd(meeting.parent, listener, "receive the seccomp listener from the child");
    else takeFromChild(w, pid, room, listener);
    w.borrow((socket) => {
      const why = `connect to the seccomp agent at ${path}`;
      const address = unixAddress(path);
      b.sys("socket", [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0], { into: socket, why });
      b.sys("connect", [socket, b.bytes(address), address.length], { why });
      sendState(w, process, { pid, socket, listener });
      w.close(socket);
    });
    w.close(listener);
  });
  b.sys("write", [meeting.parent, b.cstr("g"), 1], { why: "let the child go on behind its filter" });
  w.close(meeting.parent);
}

function takeFromChild(
  w: ProgramWriter,
  pid: Register,
  room: ReturnType<typeof w.b.scratch>,
  into: Register,
): void {
  const { b } = w;
  const why = "take the seccomp listener from the child";
  w.borrow((number) => {
    w.borrow((handle) => {
      b.load(number, room, 8);
      b.sys("pidfd_open", [pid, 0], { into: handle, why });
      b.sys("pidfd_getfd", [handle, number, 0], { into, why });
      w.close(handle);
    });
  });
}

/** One sendmsg(2): the state as JSON, in pieces around the pid, and the descriptor. */
function sendState(
  w: ProgramWriter,
  process: NotifiedProcess,
  { pid, socket, listener }: { pid: Register; socket: Register; listener: Register },
): void {
  const { b } = w;
  const pieces = statePieces(process).map((text) => b.bytes(new TextEncoder().encode(text), 1));
  const digits = b.scratch(DECIMAL_ROOM, 1);
  // Pieces and pids take turns.
  const parts = pieces.flatMap((piece, index) => (index === 0 ? [piece] : [digits, piece]));
  const vector = new Uint8Array(parts.length * IOVEC.size);
  parts.forEach((part, index) => {
    new DataView(vector.buffer).setBigUint64(index * IOVEC.size + IOVEC.length, BigInt(part.length), true);
  });
  const iov = b.struct(
    vector,
    parts.map((to, index) => ({ at: index * IOVEC.size, to })),
  );
  w.borrow((length) => {
    b.formatDecimal(pid, digits, length);
    parts.forEach((part, index) => {
      if (part === digits) b.store(length, b.slice(iov, index * IOVEC.size + IOVEC.length, 8), 8);
    });
  });
  const header = new Uint8Array(CMSG.size);
  const view = new DataView(header.buffer);
  view.setBigUint64(0, BigInt(CMSG.length), true);
  view.setUint32(8, SOL_SOCKET, true);
  view.setUint32(12, SCM_RIGHTS, true);
  const control = b.bytes(header, 8);
  b.store(listener, b.slice(control, CMSG.fd, 4), 4);
  const message = new Uint8Array(MSGHDR.size);
  new DataView(message.buffer).setBigUint64(MSGHDR.count, BigInt(parts.length), true);
  new DataView(message.buffer).setBigUint64(MSGHDR.controlLength, BigInt(CMSG.size), true);
  const pointers = [
    { at: MSGHDR.iov, to: iov },
    { at: MSGHDR.control, to: control },
  ];
  b.sys("sendmsg", [socket, b.struct(message, pointers), MSG_NOSIGNAL], {
    why: "send the seccomp listener to its agent",
  });
}

/** The texts before, between and behind the process' pid. */
function statePieces({ id, spec, bundle, containerPid }: NotifiedProcess): string[] {
  const { annotations } = spec;
  const metadata = spec.linux?.seccomp?.listenerMetadata;
  const members = (value: object) => JSON.stringify(value).slice(1, -1);
  const status = containerPid === undefined ? "creating" : "running";
  const rest = members({ bundle, ...(annotations && { annotations }) });
  const head = `{${members({ ociVersion: SPEC_VERSION, fds: ["seccompFd"] })},"pid":`;
  const state = members({ ociVersion: SPEC_VERSION, id, status });
  const middle = `,${metadata === undefined ? "" : `${members({ metadata })},`}"state":{${state},"pid":`;
  const tail = `,${rest}}}`;
  return containerPid === undefined ? [head, middle, tail] : [head, `${middle}${containerPid}${tail}`];
}
