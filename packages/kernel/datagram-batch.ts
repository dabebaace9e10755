/**
 * Many datagrams by one system call: recvmmsg and sendmmsg over buffers that are laid out once.
 *
 * For one IPv4 socket's questions at a time: what came is read in place, an answer is written in place and goes to
 * where its question came from. Whoever needs a datagram after the next `receive` copies it.
 */
import koffi from "koffi";
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction } from "#kernel/libc.ts";
import { MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC } from "#kernel/socket-syscalls.ts";

const cRecvmmsg = libcFunction(
  "int recvmmsg(int fd, void *messages, unsigned int count, int flags, void *timeout)",
);
const cSendmmsg = libcFunction("int sendmmsg(int fd, void *messages, unsigned int count, int flags)");

/** `struct mmsghdr` on 64-bit: a msghdr (name 0, its length 8, iovec 16, their number 24, flags 48), length at 56. */
const headerSize = 64;
const vectorSize = 16;
/** `struct sockaddr_in` */
const nameSize = 16;

export class DatagramBatch {
  readonly #count: number;
  readonly #size: number;
  readonly #inHeaders: Buffer;
  readonly #outHeaders: Buffer;
  readonly #outVectors: Buffer;
  readonly #names: Buffer;
  readonly #namesAddress: bigint;
  /** What came: datagram `i` begins at `i * size`. */
  readonly incoming: Buffer;
  /** What goes: answer `j` is written at `j * size`. */
  readonly outgoing: Buffer;
  /** The kernel knows these by address alone. */
  protected readonly memory: readonly Buffer[];
  #queued = 0;

  /** `count` datagrams at once, of at most `size` bytes each; longer ones are cut. */
  constructor(count: number, size: number) {
    this.#count = count;
    this.#size = size;
    const make = (length: number) => Buffer.from(new ArrayBuffer(length));
    this.incoming = make(count * size);
    this.outgoing = make(count * size);
    this.#names = make(count * nameSize);
    this.#namesAddress = koffi.address(this.#names);
    const inVectors = make(count * vectorSize);
    this.#outVectors = make(count * vectorSize);
    this.#inHeaders = make(count * headerSize);
    this.#outHeaders = make(count * headerSize);
    this.memory = [this.incoming, this.outgoing, this.#names, inVectors, this.#outVectors];
    for (const [headers, vectors, data] of [
      [this.#inHeaders, inVectors, this.incoming],
      [this.#outHeaders, this.#outVectors, this.outgoing],
    ] as const) {
      for (let index = 0; index < count; index++) {
        const at = index * headerSize;
        headers.writeBigUInt64LE(this.#namesAddress + BigInt(index * nameSize), at);
        headers.writeUInt32LE(nameSize, at + 8);
        headers.writeBigUInt64LE(koffi.address(vectors) + BigInt(index * vectorSize), at + 16);
        headers.writeBigUInt64LE(1n, at + 24);
        vectors.writeBigUInt64LE(koffi.address(data) + BigInt(index * size), index * vectorSize);
        vectors.writeBigUInt64LE(BigInt(size), index * vectorSize + 8);
      }
    }
  }

  get size(): number {
    return this.#size;
  }

  /** How many came without waiting; 0 for none. Forgets what was received and queued before. */
  receive(fd: number): number {
    this.#queued = 0;
    const count = cRecvmmsg(fd, this.#inHeaders, this.#count, MSG_DONTWAIT, null);
    if (count >= 0) return count;
    const errno = lastErrno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
    fail("recvmmsg", [fd]);
  }

  /** Bytes of a datagram that came; 0 for one that did not fit. */
  length(index: number): number {
    const at = index * headerSize;
    if ((this.#inHeaders.readUInt32LE(at + 48) & MSG_TRUNC) !== 0) return 0;
    return this.#inHeaders.readUInt32LE(at + 56);
  }

  /** A copy of the sender's address, as sendto takes it. */
  sender(index: number): Buffer {
    return Buffer.from(this.#names.subarray(index * nameSize, (index + 1) * nameSize));
  }

  /** Where in `outgoing` the next answer is to be written. */
  get room(): number {
    return this.#queued * this.#size;
  }

  /** The `length` bytes at `room` are the answer to datagram `index`. */
  answer(index: number, length: number): void {
    const to = this.#queued++;
    this.#outHeaders.writeBigUInt64LE(this.#namesAddress + BigInt(index * nameSize), to * headerSize);
    this.#outVectors.writeUInt32LE(length, to * vectorSize + 8);
  }

  /** Sends the queued answers. What the kernel does not take now is lost, as datagrams are. */
  send(fd: number): void {
    let done = 0;
    while (done < this.#queued) {
      const headers = done === 0 ? this.#outHeaders : this.#outHeaders.subarray(done * headerSize);
      const sent = cSendmmsg(fd, headers, this.#queued - done, MSG_DONTWAIT | MSG_NOSIGNAL);
      // The first of them is refused: the others may go.
      done += sent > 0 ? sent : 1;
    }
    this.#queued = 0;
  }
}
