/**
 * Writing answers to the kernel into one buffer: a header, then the operation's structure.
 *
 * The caller fills the structure by offsets behind the header, then `finish` says how long it is. Attributes are copied
 * from a `struct statx` as the kernel has filled it.
 */
import { SIZE } from "#kernel/fuse/fuse-protocol.ts";
import { pathBytes } from "#kernel/path-bytes.ts";

const high = 0x1_0000_0000;

/** Until then names and attributes stay as they were told: only the server changes what it serves. Seconds. */
const forever = 0x7fff_ffff;

export class FuseReply {
  readonly buffer: Buffer;
  readonly #view: DataView;

  /** `room`: bytes for what follows the header, at most. */
  constructor(room: number) {
    this.buffer = Buffer.alloc(SIZE.OUT_HEADER + room);
    this.#view = new DataView(this.buffer.buffer, this.buffer.byteOffset, this.buffer.length);
  }

  /** Writes the header for `length` bytes behind it; answers the length of it all. */
  finish(uniqueLow: number, uniqueHigh: number, length: number, errno = 0): number {
    const view = this.#view;
    view.setUint32(0, SIZE.OUT_HEADER + length, true);
    view.setInt32(4, -errno, true);
    view.setUint32(8, uniqueLow, true);
    view.setUint32(12, uniqueHigh, true);
    return SIZE.OUT_HEADER + length;
  }

  /** The header of a notice, which answers nobody. */
  finishNotice(code: number, length: number): number {
    const total = this.finish(0, 0, length);
    this.#view.setInt32(4, code, true);
    return total;
  }

  u16(offset: number, value: number): void {
    this.#view.setUint16(SIZE.OUT_HEADER + offset, value, true);
  }

  u32(offset: number, value: number): void {
    this.#view.setUint32(SIZE.OUT_HEADER + offset, value, true);
  }

  u64(offset: number, value: number): void {
    this.#view.setUint32(SIZE.OUT_HEADER + offset, value % high, true);
    this.#view.setUint32(SIZE.OUT_HEADER + offset + 4, Math.floor(value / high), true);
  }

  /** `length` bytes from `offset` on, to be filled. */
  data(offset: number, length: number): Buffer {
    return this.buffer.subarray(SIZE.OUT_HEADER + offset, SIZE.OUT_HEADER + offset + length);
  }

  /** `struct fuse_entry_out`: a name that leads to this node. */
  entry(offset: number, node: number, status: StatusView, ino: number, links: number): void {
    this.u64(offset, node);
    this.u64(offset + 8, 0);
    this.u64(offset + 16, forever);
    this.u64(offset + 24, forever);
    this.u64(offset + 32, 0);
    this.attributes(offset + 40, status, ino, links);
  }

  /** The same for a name that leads nowhere, which the kernel may remember. */
  noEntry(offset: number): void {
    this.data(offset, SIZE.ENTRY_OUT).fill(0);
    this.u64(offset + 16, forever);
  }

  /** `struct fuse_attr_out`. */
  attributesOut(offset: number, status: StatusView, ino: number, links: number): void {
    this.u64(offset, forever);
    this.u64(offset + 8, 0);
    this.attributes(offset + 16, status, ino, links);
  }

  /** `struct fuse_attr`. */
  attributes(offset: number, status: StatusView, ino: number, links: number): void {
    const to = this.#view;
    const from = status.view;
    const at = SIZE.OUT_HEADER + offset;
    to.setUint32(at, ino % high, true);
    to.setUint32(at + 4, Math.floor(ino / high), true);
    // Size and blocks, then the three times.
    to.setUint32(at + 8, from.getUint32(0x28, true), true);
    to.setUint32(at + 12, from.getUint32(0x2c, true), true);
    to.setUint32(at + 16, from.getUint32(0x30, true), true);
    to.setUint32(at + 20, from.getUint32(0x34, true), true);
    to.setUint32(at + 24, from.getUint32(0x40, true), true);
    to.setUint32(at + 28, from.getUint32(0x44, true), true);
    to.setUint32(at + 32, from.getUint32(0x70, true), true);
    to.setUint32(at + 36, from.getUint32(0x74, true), true);
    to.setUint32(at + 40, from.getUint32(0x60, true), true);
    to.setUint32(at + 44, from.getUint32(0x64, true), true);
    to.setUint32(at + 48, from.getUint32(0x48, true), true);
    to.setUint32(at + 52, from.getUint32(0x78, true), true);
    to.setUint32(at + 56, from.getUint32(0x68, true), true);
    to.setUint32(at + 60, from.getUint16(0x1c, true), true);
    to.setUint32(at + 64, links, true);
    to.setUint32(at + 68, from.getUint32(0x14, true), true);
    to.setUint32(at + 72, from.getUint32(0x18, true), true);
    to.setUint32(at + 76, encodeDevice(from.getUint32(0x80, true), from.getUint32(0x84, true)), true);
    to.setUint32(at + 80, from.getUint32(0x04, true), true);
    to.setUint32(at + 84, 0, true);
  }

  /** `struct fuse_open_out`. */
  open(offset: number, flags: number, backing: number): void {
    this.u64(offset, 0);
    this.u32(offset + 8, flags);
    this.u32(offset + 12, backing);
  }

  /** `struct fuse_dirent` with its name; answers the offset behind it, or -1 if it does not fit into `limit`. */
  directoryEntry(
    offset: number,
    limit: number,
    ino: number,
    next: number,
    type: number,
    name: string,
  ): number {
    const end = offset + SIZE.DIRENT + name.length;
    if (end > limit) return -1;
    const at = SIZE.OUT_HEADER + offset + SIZE.DIRENT;
    let length = this.buffer.write(name, at, "latin1");
    for (let index = 0; index < name.length; index++) {
      if (name.charCodeAt(index) < 0x80) continue;
      const bytes = pathBytes(name);
      length = bytes.length;
      if (offset + SIZE.DIRENT + length > limit) return -1;
      bytes.copy(this.buffer, at);
      break;
    }
    const padded = (length + 7) & ~7;
    if (offset + SIZE.DIRENT + padded > limit) return -1;
    this.buffer.fill(0, at + length, at + padded);
    this.u64(offset, ino);
    this.u64(offset + 8, next);
    this.u32(offset + 16, length);
    this.u32(offset + 20, type);
    return offset + SIZE.DIRENT + padded;
  }
}

/** The kernel's 32-bit form of a device number. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfffff00) << 12)) >>> 0;
}

export function decodeDevice(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) };
}

/** A `struct statx` that a call has filled, linux/stat.h. */
export class StatusView {
  readonly bytes: Buffer = Buffer.alloc(256);
  readonly view: DataView = new DataView(this.bytes.buffer, this.bytes.byteOffset, 256);

  get mode(): number {
    return this.view.getUint16(0x1c, true);
  }
  get links(): number {
    return this.view.getUint32(0x10, true);
  }
  get uid(): number {
    return this.view.getUint32(0x14, true);
  }
  get gid(): number {
    return this.view.getUint32(0x18, true);
  }
  get inode(): number {
    return this.view.getUint32(0x20, true) + this.view.getUint32(0x24, true) * high;
  }
  get size(): number {
    return this.view.getUint32(0x28, true) + this.view.getUint32(0x2c, true) * high;
  }
  /** Of 512 bytes, on disk. */
  get blocks(): number {
    return this.view.getUint32(0x30, true) + this.view.getUint32(0x34, true) * high;
  }
  /** When it was made, in a form that only serves to be compared. */
  get born(): number {
    return (this.view.getUint32(0x50, true) % 0x20_0000) * high + this.view.getUint32(0x58, true);
  }
  get rdevMajor(): number {
    return this.view.getUint32(0x80, true);
  }
  get rdevMinor(): number {
    return this.view.getUint32(0x84, true);
  }
  /** Device of the file system, major and minor in one. */
  get device(): number {
    return this.view.getUint32(0x88, true) * high + this.view.getUint32(0x8c, true);
  }
  /** Access and modification time, as utimensat takes them: four numbers of 64 bits. */
  times(out: DataView): void {
    for (const [at, to] of [
      [0x40, 0],
      [0x70, 16],
    ] as const) {
      out.setBigInt64(to, this.view.getBigInt64(at, true), true);
      out.setBigInt64(to + 8, BigInt(this.view.getUint32(at + 8, true)), true);
    }
  }
}
