/**
 * Many datagrams by one system call: recvmmsg and sendmmsg over buffers that are laid out once.
 *
 * For one IPv4 socket's questions at a time: what came is read in place, an answer is written in place and goes to
 * where its question came from. Whoever needs a datagram after the next `receive` copies it.
 *
 * Answers of one length to one client travel through the kernel as one packet that is parted at its socket (UDP_SEGMENT,
 * udp(7)): most of what a small datagram costs is its way.
 */
import { ERRNO } from "#kernel/errno.ts";
import { addressOf, fail, lastErrno, libcFunction } from "#kernel/libc.ts";
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
/** A control message with the length of a segment: header (16), a short, padding. */
const controlSize = 24;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** Bytes of the payload of one packet, and how many segments the kernel takes in it (linux/udp.h), at least. */
const payloadLimit = 65_000;
const segmentLimit = 64;

/** Answers that go together. */
interface Group {
  /** Of one of the questions. */
  index: number;
  address: number;
  length: number;
  /** Where the answers are in `outgoing`. */
  places: number[];
}

export class DatagramBatch {
  readonly #count: number;
  readonly #size: number;
  readonly #inHeaders: Buffer;
  readonly #outHeaders: Buffer;
  readonly #outVectors: Buffer;
  readonly #names: Buffer;
  readonly #controls: Buffer;
  readonly #namesAddress: bigint;
  readonly #outgoingAddress: bigint;
  readonly #vectorsAddress: bigint;
  readonly #controlsAddress: bigint;
  /** What came: datagram `i` begins at `i * size`. */
  readonly incoming: Buffer;
  /** What goes: answer `j` is written at `j * size`. */
  readonly outgoing: Buffer;
  /** The kernel knows these by address alone. */
  protected readonly memory: readonly Buffer[];
  #queued = 0;
  #groups: Group[] = [];
  /** The last group by port and length. */
  readonly #open = new Map<number, Group>();

  /** `count` datagrams at once, of at most `size` bytes each; longer ones are cut. */
  constructor(count: number, size: number) {
    this.#count = count;
    this.#size = size;
    const make = (length: number) => Buffer.from(new ArrayBuffer(length));
    this.incoming = make(count * size);
    this.outgoing = make(count * size);
    this.#names = make(count * nameSize);
    this.#namesAddress = addressOf(this.#names);
    const inVectors = make(count * vectorSize);
    this.#outVectors = make(count * vectorSize);
    this.#controls = make(count * controlSize);
    this.#inHeaders = make(count * headerSize);
    this.#outHeaders = make(count * headerSize);
    this.#outgoingAddress = addressOf(this.outgoing);
    this.#vectorsAddress = addressOf(this.#outVectors);
    this.#controlsAddress = addressOf(this.#controls);
    this.memory = [this.incoming, this.outgoing, this.#names, inVectors, this.#outVectors, this.#controls];
    const incoming = addressOf(this.incoming);
    for (let index = 0; index < count; index++) {
      const at = index * headerSize;
      this.#inHeaders.writeBigUInt64LE(this.#namesAddress + BigInt(index * nameSize), at);
      this.#inHeaders.writeUInt32LE(nameSize, at + 8);
      this.#inHeaders.writeBigUInt64LE(addressOf(inVectors) + BigInt(index * vectorSize), at + 16);
      this.#inHeaders.writeBigUInt64LE(1n, at + 24);
      inVectors.writeBigUInt64LE(incoming + BigInt(index * size), index * vectorSize);
      inVectors.writeBigUInt64LE(BigInt(size), index * vectorSize + 8);
      this.#outHeaders.writeUInt32LE(nameSize, at + 8);
      this.#controls.writeBigUInt64LE(18n, index * controlSize);
      this.#controls.writeInt32LE(SOL_UDP, index * controlSize + 8);
      this.#controls.writeInt32LE(UDP_SEGMENT, index * controlSize + 12);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** How many came without waiting; 0 for none. Forgets what was received and queued before. */
  receive(fd: number): number {
    this.#clear();
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
    const place = this.room;
    this.#queued++;
    const name = index * nameSize;
    const address = this.#names.readUInt32LE(name + 4);
    const key = this.#names.readUInt16LE(name + 2) * 0x1_0000 + length;
    const group = this.#open.get(key);
    const fits =
      group !== undefined &&
      group.address === address &&
      group.places.length < segmentLimit &&
      (group.places.length + 1) * length <= payloadLimit;
    if (fits) {
      group.places.push(place);
      return;
    }
    const begun: Group = { index, address, length, places: [place] };
    this.#groups.push(begun);
    this.#open.set(key, begun);
  }

  /** Sends the queued answers. What the kernel does not take now is lost, as datagrams are. */
  send(fd: number): void {
    let groups = this.#groups;
    while (groups.length > 0) {
      this.#layOut(groups);
      const sent = cSendmmsg(fd, this.#outHeaders, groups.length, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) {
        groups = groups.slice(sent);
        continue;
      }
      // The first one is refused: its answers are tried one by one, and the others go on.
      const [refused, ...others] = groups as [Group, ...Group[]];
      const parts = refused.places.length > 1 ? refused.places : [];
      groups = [...parts.map((place) => ({ ...refused, places: [place] })), ...others];
    }
    this.#clear();
  }

  #layOut(groups: readonly Group[]): void {
    let vector = 0;
    for (const [to, group] of groups.entries()) {
      const at = to * headerSize;
      const headers = this.#outHeaders;
      headers.writeBigUInt64LE(this.#namesAddress + BigInt(group.index * nameSize), at);
      headers.writeBigUInt64LE(this.#vectorsAddress + BigInt(vector * vectorSize), at + 16);
      headers.writeBigUInt64LE(BigInt(group.places.length), at + 24);
      const together = group.places.length > 1;
      headers.writeBigUInt64LE(together ? this.#controlsAddress + BigInt(to * controlSize) : 0n, at + 32);
      headers.writeBigUInt64LE(together ? BigInt(controlSize) : 0n, at + 40);
      if (together) this.#controls.writeUInt16LE(group.length, to * controlSize + 16);
      for (const place of group.places) {
        this.#outVectors.writeBigUInt64LE(this.#outgoingAddress + BigInt(place), vector * vectorSize);
        this.#outVectors.writeBigUInt64LE(BigInt(group.length), vector * vectorSize + 8);
        vector++;
      }
    }
  }

  #clear(): void {
    this.#queued = 0;
    if (this.#groups.length > 0) {
      this.#groups = [];
      this.#open.clear();
    }
  }
}
