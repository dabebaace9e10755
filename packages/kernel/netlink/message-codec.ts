/**
 * The wire format of netlink: messages, attributes, nesting, alignment. Pure: bytes in, bytes out.
 *
 * Numbers are in host order, which is little-endian on every architecture Berth runs on, except where a field is
 * said to be in network order. A message is finished when it is read; nothing here knows what attributes mean.
 * Numbers of flags and types: linux/netlink.h.
 */

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_DUMP_INTR = 0x10;

const NLA_F_NESTED = 0x8000;
/** Strips "nested" and "network order" from an attribute's type. */
const NLA_TYPE_MASK = 0x3fff;

const headerSize = 16;
const attributeHeaderSize = 4;

function align(length: number): number {
  return (length + 3) & ~3;
}

/** Builds one message: header, family header, attributes. */
export class MessageWriter {
  #buffer = Buffer.alloc(512);
  #length = headerSize;

  /** `flags` beside NLM_F_REQUEST, which every message from here carries. */
  constructor(type: number, flags: number) {
    this.#buffer.writeUInt16LE(type, 4);
    this.#buffer.writeUInt16LE(flags | NLM_F_REQUEST, 6);
  }

  #reserve(size: number): number {
    const at = this.#length;
    const end = at + align(size);
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(end, this.#buffer.length * 2));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    this.#length = end;
    return at;
  }

  /** Appends raw bytes, padded: the family's own header (ifinfomsg, rtmsg …). */
  bytes(value: Uint8Array): this {
    this.#buffer.set(value, this.#reserve(value.length));
    return this;
  }

  /** Appends an attribute; returns the offset of its value in the message. */
  attribute(type: number, value: Uint8Array): number {
    const size = attributeHeaderSize + value.length;
    const at = this.#reserve(size);
    this.#buffer.writeUInt16LE(size, at);
    this.#buffer.writeUInt16LE(type, at + 2);
    this.#buffer.set(value, at + attributeHeaderSize);
    return at + attributeHeaderSize;
  }

  u8(type: number, value: number): number {
    return this.attribute(type, Uint8Array.of(value));
  }

  u32(type: number, value: number): number {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.attribute(type, bytes);
  }

  /** UTF-8 with a closing NUL, as the kernel wants names. */
  text(type: number, value: string): number {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  /** An attribute whose value is what `fill` appends. */
  nested(type: number, fill: () => void): this {
    const at = this.#reserve(attributeHeaderSize);
    this.#buffer.writeUInt16LE(type | NLA_F_NESTED, at + 2);
    fill();
    const size = this.#length - at;
    if (size > 0xffff) throw new RangeError(`netlink attribute ${type} of ${size} bytes is too long`);
    this.#buffer.writeUInt16LE(size, at);
    return this;
  }

  /** The message with its length filled in; sequence number and port id are 0. */
  finish(): Buffer {
    this.#buffer.writeUInt32LE(this.#length, 0);
    return Buffer.from(this.#buffer.subarray(0, this.#length));
  }
}

/** Numbers a finished message, for matching answers to requests. */
export function setSequence(message: Uint8Array, sequence: number): void {
  new DataView(message.buffer, message.byteOffset).setUint32(8, sequence, true);
}

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  portId: number;
  payload: Buffer;
}

/** The messages of one datagram. A truncated tail ends the list. */
export function parseMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  let at = 0;
  while (at + headerSize <= datagram.length) {
    const length = datagram.readUInt32LE(at);
    if (length < headerSize || at + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      portId: datagram.readUInt32LE(at + 12),
      payload: datagram.subarray(at + headerSize, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** Attributes by type, from `offset` (after the family header). Of repeated types the last one stays. */
export function parseAttributes(bytes: Buffer, offset = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let at = align(offset);
  while (at + attributeHeaderSize <= bytes.length) {
    const size = bytes.readUInt16LE(at);
    if (size < attributeHeaderSize || at + size > bytes.length) break;
    const type = bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK;
    attributes.set(type, bytes.subarray(at + attributeHeaderSize, at + size));
    at += align(size);
  }
  return attributes;
}

/** A NUL-terminated string attribute. */
export function attributeText(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}

/** Positive errno of an NLMSG_ERROR payload; 0 is an acknowledgement. */
export function parseErrno(payload: Buffer): number {
  return Math.abs(payload.readInt32LE(0));
}
