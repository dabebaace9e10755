/**
 * Messages of D-Bus as bytes, in both directions. Pure. (D-Bus Specification, "Marshaling" and "Message Protocol")
 *
 * Values are plain: numbers for integers up to 32 bits and bytes, bigint for 64, strings, booleans, arrays for arrays and
 * structs, pairs for the entries of dictionaries, and `variant(signature, value)`. Signals that nobody asked for bring all
 * of these.
 */

export type DbusValue = number | bigint | boolean | string | DbusVariant | readonly DbusValue[];

export interface DbusVariant {
  signature: string;
  value: DbusValue;
}

export function variant(signature: string, value: DbusValue): DbusVariant {
  return { signature, value };
}

export const MESSAGE = { CALL: 1, RETURN: 2, ERROR: 3, SIGNAL: 4 } as const;

/** Header fields by their codes. */
const FIELDS = [
  [1, "path", "o"],
  [2, "interface", "s"],
  [3, "member", "s"],
  [4, "errorName", "s"],
  [5, "replySerial", "u"],
  [6, "destination", "s"],
  [7, "sender", "s"],
  [8, "signature", "g"],
] as const;

export interface DbusMessage {
  type: number;
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  replySerial?: number;
  destination?: string;
  sender?: string;
  signature?: string;
  body: DbusValue[];
}

const LITTLE_ENDIAN = 0x6c;
const BIG_ENDIAN = 0x42;
const PROTOCOL = 1;
/** Bytes up to and including the length of the header fields. */
const FIXED_HEADER = 16;

export function encodeMessage(message: DbusMessage): Buffer {
  const body = new Writer();
  for (const [index, type] of completeTypes(message.signature ?? "").entries()) {
    body.value(type, message.body[index] as DbusValue);
  }
  const fields = FIELDS.flatMap(([code, name, type]) => {
    const value = message[name];
    return value === undefined ? [] : [[code, variant(type, value)]];
  });
  const header = new Writer();
  for (const byte of [LITTLE_ENDIAN, message.type, 0, PROTOCOL]) header.value("y", byte);
  header.value("u", body.length);
  header.value("u", message.serial);
  header.value("a(yv)", fields);
  header.align(8);
  return Buffer.concat([header.finish(), body.finish()]);
}

/** How many bytes the message at the beginning takes; undefined while too few are there to say. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  const read = (at: number) => (bytes[0] === BIG_ENDIAN ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at));
  return aligned(FIXED_HEADER + read(12), 8) + read(4);
}

/** Decodes one whole message. Throws for bytes that are none. */
export function decodeMessage(bytes: Buffer): DbusMessage {
  const header = new Reader(bytes, bytes[0] === BIG_ENDIAN);
  const [, type = 0, , protocol] = ["y", "y", "y", "y"].map((one) => header.value(one) as number);
  if (protocol !== PROTOCOL) throw new Error("not a message of D-Bus");
  header.value("u");
  const serial = header.value("u") as number;
  const message: DbusMessage = { type, serial, body: [] };
  for (const [code, content] of header.value("a(yv)") as [number, DbusVariant][]) {
    const field = FIELDS.find(([known]) => known === code);
    if (field !== undefined) Object.assign(message, { [field[1]]: content.value });
  }
  header.align(8);
  message.body = completeTypes(message.signature ?? "").map((one) => header.value(one));
  return message;
}

/** "sa(sv)u" → ["s", "a(sv)", "u"] */
export function completeTypes(signature: string): string[] {
  const types: string[] = [];
  for (let from = 0; from < signature.length; ) {
    const until = typeEnd(signature, from);
    types.push(signature.slice(from, until));
    from = until;
  }
  return types;
}

function typeEnd(signature: string, from: number): number {
  let at = from;
  while (signature[at] === "a") at++;
  if (signature[at] !== "(" && signature[at] !== "{") return at + 1;
  for (let depth = 0; at < signature.length; at++) {
    if ("({".includes(signature[at] as string)) depth++;
    if (")}".includes(signature[at] as string) && --depth === 0) return at + 1;
  }
  throw new Error(`incomplete signature ${JSON.stringify(signature)}`);
}

/** Boundary of a type, in bytes. */
function alignment(type: string): number {
  const one: Record<string, number> = { y: 1, g: 1, v: 1, n: 2, q: 2, x: 8, t: 8, d: 8, "(": 8, "{": 8 };
  return one[type[0] as string] ?? 4;
}

function aligned(at: number, boundary: number): number {
  return Math.ceil(at / boundary) * boundary;
}

class Writer {
  #bytes = Buffer.alloc(256);
  length = 0;

  finish(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  align(boundary: number): void {
    this.#room(aligned(this.length, boundary) - this.length);
  }

  value(type: string, value: DbusValue): void {
    this.align(alignment(type));
    const kind = type[0];
    if (kind === "y") this.#put(1, (bytes, at) => bytes.writeUInt8(value as number, at));
    else if (kind === "b") this.#put(4, (bytes, at) => bytes.writeUInt32LE(value ? 1 : 0, at));
    else if (kind === "u") this.#put(4, (bytes, at) => bytes.writeUInt32LE(value as number, at));
    else if (kind === "i") this.#put(4, (bytes, at) => bytes.writeInt32LE(value as number, at));
    else if (kind === "t") this.#put(8, (bytes, at) => bytes.writeBigUInt64LE(BigInt(value as bigint), at));
    else if (kind === "x") this.#put(8, (bytes, at) => bytes.writeBigInt64LE(BigInt(value as bigint), at));
    else if (kind === "d") this.#put(8, (bytes, at) => bytes.writeDoubleLE(value as number, at));
    else if (kind === "s" || kind === "o") this.#text(value as string, 4);
    else if (kind === "g") this.#text(value as string, 1);
    else if (kind === "v") {
      const { signature, value: inner } = value as DbusVariant;
      this.#text(signature, 1);
      this.value(signature, inner);
    } else if (kind === "(" || kind === "{") {
      const types = completeTypes(type.slice(1, -1));
      for (const [index, one] of types.entries()) this.value(one, (value as DbusValue[])[index] as DbusValue);
    } else if (kind === "a") this.#array(type.slice(1), value as DbusValue[]);
    else throw new Error(`cannot write type ${JSON.stringify(type)}`);
  }

  /** The length counts from behind the padding to the first element. */
  #array(type: string, values: readonly DbusValue[]): void {
    const lengthAt = this.#room(4);
    this.align(alignment(type));
    const from = this.length;
    for (const one of values) this.value(type, one);
    this.#bytes.writeUInt32LE(this.length - from, lengthAt);
  }

  #text(text: string, lengthSize: 1 | 4): void {
    const length = Buffer.byteLength(text);
    if (lengthSize === 1) this.#put(1, (bytes, at) => bytes.writeUInt8(length, at));
    else this.#put(4, (bytes, at) => bytes.writeUInt32LE(length, at));
    const at = this.#room(length + 1);
    this.#bytes.write(text, at);
  }

  /** The room comes first: making it may put another buffer in the place of the old one. */
  #put(size: number, write: (bytes: Buffer, at: number) => void): void {
    const at = this.#room(size);
    write(this.#bytes, at);
  }

  /** Zeroed room at the end; answers where it begins. */
  #room(size: number): number {
    const at = this.length;
    this.length += size;
    if (this.length > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length + size)]);
    }
    return at;
  }
}

class Reader {
  readonly #bytes: Buffer;
  readonly #big: boolean;
  #at = 0;

  constructor(bytes: Buffer, big: boolean) {
    this.#bytes = bytes;
    this.#big = big;
  }

  align(boundary: number): void {
    this.#at = aligned(this.#at, boundary);
  }

  value(type: string): DbusValue {
    this.align(alignment(type));
    const big = this.#big;
    const bytes = this.#bytes;
    const kind = type[0];
    if (kind === "y") return bytes.readUInt8(this.#skip(1));
    if (kind === "q") return big ? bytes.readUInt16BE(this.#skip(2)) : bytes.readUInt16LE(this.#skip(2));
    if (kind === "n") return big ? bytes.readInt16BE(this.#skip(2)) : bytes.readInt16LE(this.#skip(2));
    if (kind === "b") return this.#u32() !== 0;
    if (kind === "u" || kind === "h") return this.#u32();
    if (kind === "i") return this.#u32() | 0;
    if (kind === "t")
      return big ? bytes.readBigUInt64BE(this.#skip(8)) : bytes.readBigUInt64LE(this.#skip(8));
    if (kind === "x") return big ? bytes.readBigInt64BE(this.#skip(8)) : bytes.readBigInt64LE(this.#skip(8));
    if (kind === "s" || kind === "o") return this.#text(this.#u32());
    if (kind === "g") return this.#text(bytes.readUInt8(this.#skip(1)));
    if (kind === "v") {
      const signature = this.value("g") as string;
      return variant(signature, this.value(signature));
    }
    if (kind === "d") return big ? bytes.readDoubleBE(this.#skip(8)) : bytes.readDoubleLE(this.#skip(8));
    // An entry of a dictionary is a pair.
    if (kind === "(" || kind === "{") return completeTypes(type.slice(1, -1)).map((one) => this.value(one));
    if (kind !== "a") throw new Error(`cannot read type ${JSON.stringify(type)}`);
    const inner = type.slice(1);
    const length = this.#u32();
    this.align(alignment(inner));
    const end = this.#at + length;
    const values: DbusValue[] = [];
    while (this.#at < end) values.push(this.value(inner));
    return values;
  }

  #u32(): number {
    const at = this.#skip(4);
    return this.#big ? this.#bytes.readUInt32BE(at) : this.#bytes.readUInt32LE(at);
  }

  #text(length: number): string {
    const at = this.#skip(length + 1);
    return this.#bytes.toString("utf8", at, at + length);
  }

  #skip(size: number): number {
    const at = this.#at;
    this.#at += size;
    return at;
  }
}
