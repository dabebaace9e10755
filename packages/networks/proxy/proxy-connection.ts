/**
 * One connection to the port proxy: what it has, orders, and its end.
 *
 * Owns the socket. Sending never waits: what the socket does not take is sent when it does. Reading goes through the
 * event loop once the list has been read, which alone brings descriptors.
 */
import { closeSync, constants, openSync } from "node:fs";
import { Socket } from "node:net";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  AF_UNIX,
  connect,
  encodeUnixAddress,
  getsockname,
  MSG_DONTWAIT,
  receiveDescriptors,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sendDescriptors,
  socket,
} from "#kernel/socket-syscalls.ts";
import { isErrno, SyscallError } from "#kernel/syscall-error.ts";
import {
  addressKey,
  decodeOrder,
  encodeOrder,
  ORDER,
  ORDER_SIZE,
  type ProxyOrder,
  type ProxyTarget,
} from "#networks/proxy/proxy-orders.ts";

/** What the proxy serves: our own descriptor of the socket, and where its traffic goes. */
export interface Listed {
  slot: number;
  socket: FileDescriptor;
  target: ProxyTarget;
}

/** How long the proxy may take for a piece of its list, ms; it takes microseconds. */
const LIST_PATIENCE = 5000;
/** The proxy hangs up on who does not take its answers: of these, so many are asked for at once. */
const MOST_UNANSWERED = 64;
/** Between attempts to send, ms, while the proxy has not read what it was sent. */
const SEND_AGAIN = 1;

export class ProxyConnection {
  readonly #socket: Socket;
  readonly #fd: number;
  readonly #waiting: { bytes: Buffer; passed: FileDescriptor | undefined }[] = [];
  #input: Buffer = Buffer.alloc(0);
  /** Orders that will be answered and have not been yet. */
  #unanswered = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(fd: FileDescriptor, heard: (order: ProxyOrder) => void, ended: () => void) {
    this.#fd = fd.release();
    this.#socket = new Socket({ fd: this.#fd, readable: true, writable: true });
    this.#socket.on("data", (bytes) => this.#read(bytes, heard));
    this.#socket.on("error", () => {
      // "close" follows and says all there is to say.
    });
    this.#socket.on("close", () => {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#waiting.length = 0;
      ended();
    });
    this.#socket.unref();
  }

  /** Throws SyscallError where nobody listens (ENOENT, ECONNREFUSED), or who listens does not answer. */
  static async open(
    path: string,
    heard: (order: ProxyOrder) => void,
    ended: () => void,
  ): Promise<{ connection: ProxyConnection; listed: Listed[] }> {
    const fd = new FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const listed: Listed[] = [];
    try {
      connectTo(fd, path);
      let from: number | undefined = 0;
      while (from !== undefined) from = await readPiece(fd, from, listed);
      return { connection: new ProxyConnection(fd, heard, ended), listed };
    } catch (error) {
      fd.close();
      for (const { socket: own } of listed) own.close();
      throw error;
    }
  }

  /** Orders are carried out one after the other. The descriptor stays the caller's; closed before it is sent, it is not. */
  send(bytes: Buffer, passed?: FileDescriptor): void {
    if (this.#waiting.length === 0 && this.#try(bytes, passed)) return;
    this.#waiting.push({ bytes, passed });
    this.#timer ??= setTimeout(() => this.#sendWaiting(), SEND_AGAIN);
  }

  close(): void {
    this.#socket.destroy();
  }

  #sendWaiting(): void {
    this.#timer = undefined;
    let sent = 0;
    for (const { bytes, passed } of this.#waiting) {
      if (!this.#try(bytes, passed)) break;
      sent++;
    }
    this.#waiting.splice(0, sent);
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#sendWaiting(), SEND_AGAIN);
  }

  /** Was it taken? Of a connection that has ended, everything is: its "close" is on the way. */
  #try(bytes: Buffer, passed: FileDescriptor | undefined): boolean {
    if (this.#socket.destroyed || passed?.isOpen === false) return true;
    // What passes a descriptor is answered only when it fails.
    const answered = passed === undefined;
    if (answered && this.#unanswered >= MOST_UNANSWERED) return false;
    try {
      sendDescriptors(this.#fd, bytes, passed === undefined ? [] : [passed.number], MSG_DONTWAIT);
      if (answered) this.#unanswered++;
      return true;
    } catch (error) {
      if (isErrno(error, "EAGAIN") || isTooManyInFlight(error)) return false;
      this.#socket.destroy();
      return true;
    }
  }

  #read(bytes: Buffer, heard: (order: ProxyOrder) => void): void {
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
    let at = 0;
    for (; at + ORDER_SIZE <= this.#input.length; at += ORDER_SIZE) {
      const order = decodeOrder(this.#input.subarray(at, at + ORDER_SIZE));
      if (order.order === ORDER.remove) this.#unanswered--;
      heard(order);
    }
    this.#input = this.#input.subarray(at);
    if (this.#timer === undefined && this.#waiting.length > 0) this.#sendWaiting();
  }
}

/** ETOOMANYREFS: more descriptors are under way than a process may have open. */
function isTooManyInFlight(error: unknown): boolean {
  return error instanceof SyscallError && error.errno === 109;
}

/** The longest path in a unix address, in bytes, without the NUL. */
const longestPath = 107;

function connectTo(fd: FileDescriptor, path: string): void {
  if (Buffer.byteLength(path) <= longestPath) {
    connect(fd.number, encodeUnixAddress(path));
    return;
  }
  const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    connect(fd.number, encodeUnixAddress(`/proc/self/fd/${directory}/${basename(path)}`));
  } finally {
    closeSync(directory);
  }
}

/** Adds a piece of the list; answers where the next begins, undefined after the last. */
async function readPiece(fd: FileDescriptor, from: number, listed: Listed[]): Promise<number | undefined> {
  sendDescriptors(fd.number, encodeOrder(ORDER.list, from), [], MSG_DONTWAIT);
  const deadline = performance.now() + LIST_PATIENCE;
  const bytes = Buffer.alloc(ORDER_SIZE);
  for (;;) {
    const received = tryReceive(fd, bytes);
    if (received === undefined) {
      if (performance.now() > deadline) throw new Error("the port proxy does not answer");
      await sleep(1);
      continue;
    }
    const [own] = received.descriptors;
    if (received.length !== ORDER_SIZE) throw new Error("the port proxy has hung up");
    const { order, slot, target } = decodeOrder(bytes);
    if (order === ORDER.listed) return slot === 0 ? undefined : slot;
    if (own !== undefined && target !== undefined) {
      listed.push({ slot, target, socket: new FileDescriptor(own) });
    }
  }
}

function tryReceive(fd: FileDescriptor, bytes: Buffer) {
  try {
    return receiveDescriptors(fd.number, bytes, 1, MSG_DONTWAIT);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return undefined;
    throw error;
  }
}

/** Which port of the host a socket has. */
export function socketKey({ socket: own, target }: Listed): string {
  return addressKey(target.protocol, getsockname(own.number));
}
