/**
 * A netlink socket: sends requests and waits for the kernel's answers.
 *
 * The kernel works on a request within the sending call itself, so an answer is there when sendto returns; waiting is
 * a formality, bounded by a timeout all the same. Owns its descriptor. Requests that take the kernel long (deleting
 * links) go through `requestSlowly`, which sends from a thread of the pool.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { inThread, libcFunction } from "#kernel/libc.ts";
import {
  type Message,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  parseErrno,
  parseMessages,
  setSequence,
} from "#kernel/netlink/message-codec.ts";
import {
  AF_NETLINK,
  bind,
  encodeNetlinkAddress,
  recv,
  SO_RCVTIMEO,
  SO_SNDBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
  sendto,
  setsockopt,
  socket,
} from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/** The kernel sends dumps in pieces of at most 32 KiB. */
const receiveSize = 64 * 1024;
/** What a socket takes in one datagram as it comes (net.core.wmem_default) is more than this. */
const sendSize = 64 * 1024;
/** Dumps change under the reader now and then; so often are they read again. */
const dumpAttempts = 4;

const kernelAddress = encodeNetlinkAddress();
const cSend = libcFunction("int64_t send(int fd, void *data, size_t length, int flags)");

export class NetlinkSocket implements Disposable {
  readonly #fd: FileDescriptor;
  readonly #buffer = Buffer.allocUnsafe(receiveSize);
  #sequence = 0;

  /** `timeout` in milliseconds: how long an answer may take. */
  constructor(protocol: number = NETLINK_ROUTE, timeout = 5000) {
    this.#fd = new FileDescriptor(socket(AF_NETLINK, SOCK_RAW, protocol));
    try {
      bind(this.#fd.number, kernelAddress);
      setsockopt(this.#fd.number, SOL_SOCKET, SO_RCVTIMEO, encodeTimeval(timeout));
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  /** Sends a message that asks for an acknowledgement; throws SyscallError with the kernel's errno. */
  request(message: Uint8Array, why = "netlink request"): void {
    const errno = this.tryRequest(message);
    if (errno !== 0) throw new SyscallError("netlink", errno, [why]);
  }

  /** As `request`, but answers the errno, 0 for success. */
  tryRequest(message: Uint8Array): number {
    const sequence = this.#send(message);
    return this.#acknowledgement(sequence);
  }

  /** Sends a request that asks for an acknowledgement; the messages that came before it. Throws SyscallError. */
  ask(message: Uint8Array, why = "netlink question"): Message[] {
    const sequence = this.#send(message);
    const messages: Message[] = [];
    for (;;) {
      for (const answer of this.#receive(sequence)) {
        if (answer.type !== NLMSG_ERROR) messages.push(answer);
        else if (parseErrno(answer.payload) === 0) return messages;
        else throw new SyscallError("netlink", parseErrno(answer.payload), [why]);
      }
    }
  }

  /** Sends several messages in one datagram; answers the first errno the kernel tells of any, 0 for success. */
  tryBatch(messages: Buffer): number {
    const sequence = this.#numberBatch(messages);
    sendto(this.#fd.number, messages, 0, kernelAddress);
    return this.#acknowledgement(sequence);
  }

  /** As `tryBatch`, with the kernel's work done off the event loop. One at a time per socket. */
  async batchSlowly(messages: Buffer): Promise<number> {
    const sequence = this.#numberBatch(messages);
    await this.#sendSlowly(messages);
    return this.#acknowledgement(sequence);
  }

  /** Gives all messages of a datagram one number, and the socket room for them. */
  #numberBatch(messages: Buffer): number {
    const sequence = ++this.#sequence;
    for (let at = 0; at < messages.length; at += messages.readUInt32LE(at)) {
      setSequence(messages.subarray(at), sequence);
    }
    // The kernel counts its own bookkeeping in, and doubles what it is told for that.
    if (messages.length > sendSize) {
      setsockopt(this.#fd.number, SOL_SOCKET, SO_SNDBUFFORCE, 2 * messages.length);
    }
    return sequence;
  }

  /** As `tryRequest`, with the kernel's work done off the event loop. One at a time per socket. */
  async requestSlowly(message: Uint8Array): Promise<number> {
    const sequence = ++this.#sequence;
    setSequence(message, sequence);
    await this.#sendSlowly(message);
    return this.#acknowledgement(sequence);
  }

  async #sendSlowly(message: Uint8Array): Promise<void> {
    await inThread(cSend, "send", [this.#fd.number, message, message.length, 0], [this.#fd.number]);
  }

  /** Sends a dump request; answers the messages of all its pieces. */
  dump(message: Uint8Array): Message[] {
    for (let attempt = 1; ; attempt++) {
      const { messages, interrupted } = this.#dumpOnce(message);
      if (!interrupted || attempt === dumpAttempts) return messages;
    }
  }

  /** As `dump`, but once, with the kernel's search for the first piece done off the event loop. One at a time per socket. */
  async dumpSlowly(message: Uint8Array): Promise<Message[]> {
    const sequence = ++this.#sequence;
    setSequence(message, sequence);
    await this.#sendSlowly(message);
    return this.#pieces(sequence).messages;
  }

  #dumpOnce(message: Uint8Array): { messages: Message[]; interrupted: boolean } {
    return this.#pieces(this.#send(message));
  }

  #pieces(sequence: number): { messages: Message[]; interrupted: boolean } {
    const messages: Message[] = [];
    let interrupted = false;
    for (;;) {
      for (const answer of this.#receive(sequence)) {
        if ((answer.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (answer.type === NLMSG_DONE) return { messages, interrupted };
        if (answer.type === NLMSG_ERROR)
          throw new SyscallError("netlink", parseErrno(answer.payload), ["dump"]);
        if (answer.type !== NLMSG_NOOP) messages.push(answer);
      }
    }
  }

  #send(message: Uint8Array): number {
    const sequence = ++this.#sequence;
    setSequence(message, sequence);
    sendto(this.#fd.number, message, 0, kernelAddress);
    return sequence;
  }

  #acknowledgement(sequence: number): number {
    for (;;) {
      for (const answer of this.#receive(sequence)) {
        if (answer.type === NLMSG_ERROR) return parseErrno(answer.payload);
      }
    }
  }

  /** Answers to one request; late ones to earlier requests are dropped. The payloads are copies. */
  #receive(sequence: number): Message[] {
    const length = recv(this.#fd.number, this.#buffer);
    return parseMessages(Buffer.from(this.#buffer.subarray(0, length))).filter(
      (message) => message.sequence === sequence,
    );
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** `struct timeval` on 64-bit. */
function encodeTimeval(milliseconds: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeBigInt64LE(BigInt(Math.floor(milliseconds / 1000)), 0);
  value.writeBigInt64LE(BigInt((milliseconds % 1000) * 1000), 8);
  return value;
}
