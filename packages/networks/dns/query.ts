/**
 * Reading a DNS question as a client sends it (RFC 1035, RFC 6891). Pure: bytes in, fields out.
 *
 * What comes is hostile until shown otherwise: every offset is checked, nothing is followed, nothing is kept of the
 * bytes. One Query is filled again and again, since most questions are answered before the next is read.
 */

export const TYPE = { A: 1, PTR: 12, AAAA: 28, OPT: 41, ANY: 255 } as const;
export const CLASS_IN = 1;
export const CLASS_ANY = 255;

export const HEADER_SIZE = 12;
export const FLAG_RESPONSE = 0x8000;
export const OPCODE_MASK = 0x7800;
export const FLAG_TRUNCATED = 0x0200;
export const FLAG_RECURSION_DESIRED = 0x0100;
export const FLAG_RECURSION_AVAILABLE = 0x0080;
export const FLAG_CHECKING_DISABLED = 0x0010;

/** Of a name as it travels, its lengths and the root included (RFC 1035, 2.3.4). */
const NAME_LIMIT = 255;
const LABEL_LIMIT = 63;
/** A message without EDNS over UDP (RFC 1035, 2.3.4). */
const PLAIN_SIZE = 512;

/**
 * "ok"; "ignore" what no server answers (too short, an answer itself); "malformed" and "unknown" are answered with
 * FORMERR and NOTIMP.
 */
export type Reading = "ok" | "ignore" | "malformed" | "unknown";

export class Query {
  id = 0;
  flags = 0;
  type = 0;
  class = 0;
  /** In lower case, without the last dot; one character a byte. Undefined for a name with dots inside its labels. */
  name: string | undefined;
  /** Length of header and question together. */
  end = 0;
  /** The largest answer the client takes by UDP. */
  size = PLAIN_SIZE;
  /** Did the client send EDNS? */
  edns = false;
  readonly #name = Buffer.alloc(NAME_LIMIT + 1);

  /** Reads the message in `bytes` from `start`, `length` bytes of it. */
  read(bytes: Buffer, start: number, length: number): Reading {
    if (length < HEADER_SIZE) return "ignore";
    const end = start + length;
    this.id = bytes.readUInt16BE(start);
    this.flags = bytes.readUInt16BE(start + 2);
    this.end = HEADER_SIZE;
    this.size = PLAIN_SIZE;
    this.edns = false;
    this.name = undefined;
    if ((this.flags & FLAG_RESPONSE) !== 0) return "ignore";
    if ((this.flags & OPCODE_MASK) !== 0) return "unknown";
    if (bytes.readUInt16BE(start + 4) !== 1) return "malformed";
    let at = this.#readName(bytes, start + HEADER_SIZE, end);
    if (at < 0 || at + 4 > end) return "malformed";
    this.type = bytes.readUInt16BE(at);
    this.class = bytes.readUInt16BE(at + 2);
    at += 4;
    this.end = at - start;
    const others = bytes.readUInt16BE(start + 6) + bytes.readUInt16BE(start + 8);
    const additional = bytes.readUInt16BE(start + 10);
    // Answers in a question are strange and nobody's business here: such messages are for others to judge.
    if (others === 0 && additional > 0 && !this.#readAdditional(bytes, at, end, additional))
      return "malformed";
    return "ok";
  }

  /** Where the name ends, or -1. A question has no compressed names: there is nothing before it to point at. */
  #readName(bytes: Buffer, from: number, end: number): number {
    const name = this.#name;
    let at = from;
    let written = 0;
    let plain = true;
    for (;;) {
      if (at >= end) return -1;
      const label = bytes[at] as number;
      at++;
      if (label === 0) break;
      if (label > LABEL_LIMIT || at + label > end || at + label - from >= NAME_LIMIT) return -1;
      for (const last = at + label; at < last; at++) {
        const byte = bytes[at] as number;
        if (byte === DOT) plain = false;
        name[written++] = byte >= UPPER_A && byte <= UPPER_Z ? byte + CASE : byte;
      }
      name[written++] = DOT;
    }
    if (plain) this.name = name.toString("latin1", 0, Math.max(0, written - 1));
    return at;
  }

  /** Looks for EDNS; false if the records are not in order. */
  #readAdditional(bytes: Buffer, from: number, end: number, count: number): boolean {
    let at = from;
    for (let index = 0; index < count; index++) {
      const root = bytes[at] === 0;
      at = skipName(bytes, at, end);
      if (at < 0 || at + 10 > end) return false;
      const data = bytes.readUInt16BE(at + 8);
      if (root && bytes.readUInt16BE(at) === TYPE.OPT) {
        this.edns = true;
        this.size = Math.max(PLAIN_SIZE, bytes.readUInt16BE(at + 2));
      }
      at += 10 + data;
      if (at > end) return false;
    }
    return true;
  }
}

const DOT = 0x2e;
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
const CASE = 0x20;

function skipName(bytes: Buffer, from: number, end: number): number {
  for (let at = from; at < end; ) {
    const label = bytes[at] as number;
    if (label === 0) return at + 1;
    // A pointer ends a name.
    if ((label & 0xc0) === 0xc0) return at + 2 <= end ? at + 2 : -1;
    if (label > LABEL_LIMIT) return -1;
    at += 1 + label;
  }
  return -1;
}
