/**
 * Reading requests of the kernel from the buffer that /dev/fuse fills: one buffer, one request at a time.
 *
 * Nothing is copied but names: what a method answers is read at its offset from the operation's structure. Numbers of 64
 * bits are JavaScript numbers; those that need all their bits (`unique`) are kept as two halves.
 */
import { SIZE } from "#kernel/fuse/fuse-protocol.ts";
import { decodePath } from "#kernel/path-bytes.ts";

const high = 0x1_0000_0000;

export class FuseRequest {
  readonly buffer: Buffer;
  readonly #view: DataView;
  /** Bytes of the request, as its header says. */
  length = 0;
  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  node = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  /** Where the operation's structure and what follows it end. */
  #end = 0;

  constructor(size: number) {
    this.buffer = Buffer.alloc(size);
    this.#view = new DataView(this.buffer.buffer, this.buffer.byteOffset, size);
  }

  /** Takes the header of what was just read; false if it is not whole or says what cannot be. */
  begin(received: number): boolean {
    if (received < SIZE.IN_HEADER) return false;
    const view = this.#view;
    this.length = view.getUint32(0, true);
    this.opcode = view.getUint32(4, true);
    this.uniqueLow = view.getUint32(8, true);
    this.uniqueHigh = view.getUint32(12, true);
    this.node = view.getUint32(16, true) + view.getUint32(20, true) * high;
    this.uid = view.getUint32(24, true);
    this.gid = view.getUint32(28, true);
    this.pid = view.getUint32(32, true);
    this.#end = this.length - view.getUint16(36, true) * 8;
    return this.length === received && this.#end >= SIZE.IN_HEADER;
  }

  /** At `offset` of the operation's structure. */
  u32(offset: number): number {
    return this.#view.getUint32(SIZE.IN_HEADER + offset, true);
  }

  /** As a JavaScript number: exact to 2^53, which offsets and sizes do not reach. */
  u64(offset: number): number {
    const at = SIZE.IN_HEADER + offset;
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * high;
  }

  i64(offset: number): number {
    const at = SIZE.IN_HEADER + offset;
    return this.#view.getUint32(at, true) + this.#view.getInt32(at + 4, true) * high;
  }

  /** The name that begins at `offset`. */
  name(offset: number): string {
    const from = SIZE.IN_HEADER + offset;
    return decodePath(this.buffer.subarray(from, this.#nameEnd(from)));
  }

  /** Offset behind the name that begins at `offset`, and its NUL. */
  after(offset: number): number {
    return this.#nameEnd(SIZE.IN_HEADER + offset) + 1 - SIZE.IN_HEADER;
  }

  /** Bytes from `offset` on, valid until the next request is read. */
  data(offset: number, length: number): Buffer {
    const from = SIZE.IN_HEADER + offset;
    return this.buffer.subarray(from, Math.min(from + length, this.#end));
  }

  #nameEnd(from: number): number {
    const end = this.buffer.indexOf(0, from);
    return end < 0 || end > this.#end ? this.#end : end;
  }
}
