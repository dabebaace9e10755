/**
 * Fast gunzip by Intel's ISA-L: about three times zlib's speed.
 *
 * Binds the streaming decompressor and nothing else. The library is optional: `isalInflater` answers undefined where it is
 * not installed or not laid out as expected, and callers decompress with node:zlib. One call at a time; it runs in a
 * thread of libuv's, so that whoever reads can go on with the piece before.
 */

import { isalBinding } from "#kernel/isal-library.ts";
import { addressOf } from "#kernel/libc.ts";

/** igzip_lib.h: sizeof(struct inflate_state) is 87368 in 2.30; room for growth. */
const stateSize = 128 << 10;
/** Offsets in struct inflate_state on 64-bit machines (igzip_lib.h of 2.30). */
const field = {
  nextOut: 0,
  availableOut: 8,
  nextIn: 16,
  availableIn: 32,
  blockState: 21160,
  crcFlag: 21172,
} as const;
/** ISAL_GZIP: header and trailer of a member are read, its checksum and length compared. */
const gzip = 1;
/** ISAL_BLOCK_FINISH: the member is over. */
const finished = 5;

/** Messages for isal_inflate's negative answers, in zlib's words where it has them. */
const messages = new Map<number, string>([
  [-1, "invalid block"],
  [-2, "invalid code"],
  [-3, "invalid distance too far back"],
  [-4, "incorrect header check"],
  [-5, "unknown compression method"],
  [-6, "incorrect data check"],
]);

interface Functions {
  init: (state: Buffer) => void;
  inflate: ((state: Buffer) => number) & {
    async: (state: Buffer, done: (error: unknown, code: number) => void) => void;
  };
}

const functions = isalBinding((bind) => {
  const calls: Functions = {
    init: bind("void isal_inflate_init(void *state)"),
    inflate: bind("int isal_inflate(void *state)"),
  };
  return understands(calls) ? calls : undefined;
});

/** A gzip member of the two bytes "ok". */
const sample = Buffer.from("1f8b0800000000000203cbcf060047dddc7902000000", "hex");

/** Another version of the library may lay its structure out differently: only one that reads the sample is used. */
function understands(calls: Functions): boolean {
  const inflater = new IsalInflater(calls);
  const output = Buffer.alloc(16);
  inflater.feed(sample);
  const { length, ended } = inflater.inflateSync(output);
  return ended && output.toString("latin1", 0, length) === "ok" && inflater.unread === 0;
}

export interface Inflated {
  /** Bytes written to the output. */
  length: number;
  /** The member is over; `unread` bytes of the input belong to what follows. */
  ended: boolean;
}

/** Damaged data; `code` begins as zlib's codes do. */
export class InflateError extends Error {
  readonly code = "Z_DATA_ERROR";
}

/** A decompressor of gzip members, one after the other; undefined where the library cannot be used. */
export function isalInflater(): IsalInflater | undefined {
  const calls = functions();
  return calls === undefined ? undefined : new IsalInflater(calls);
}

export class IsalInflater {
  readonly #calls: Functions;
  // A slow allocation is never moved and never part of a shared pool: its address stays what it is.
  readonly #state = Buffer.allocUnsafeSlow(stateSize);
  /** Kept so that it lives while the structure has its address. */
  #input: Buffer = Buffer.alloc(0);

  constructor(calls: Functions) {
    this.#calls = calls;
    this.begin();
  }

  /** Forgets everything but the input: another member begins. */
  begin(): void {
    const rest = this.#input.subarray(this.#input.length - this.unread);
    this.#state.fill(0);
    this.#calls.init(this.#state);
    this.#state.writeUInt32LE(gzip, field.crcFlag);
    this.feed(rest);
  }

  /** The input that was not used so far, bytes. */
  get unread(): number {
    return this.#input.length === 0 ? 0 : this.#state.readUInt32LE(field.availableIn);
  }

  /** Bytes of the input not used so far; valid until the buffer given to `feed` changes. */
  get rest(): Buffer {
    return this.#input.subarray(this.#input.length - this.unread);
  }

  /** Gives the next input; what was unread of the one before is dropped. Must stay as it is until it is used up. */
  feed(input: Buffer): void {
    this.#input = input;
    this.#state.writeBigUInt64LE(input.length === 0 ? 0n : addressOf(input), field.nextIn);
    this.#state.writeUInt32LE(input.length, field.availableIn);
  }

  /** Fills `output` (not from a pool) until it is full, the input used up, or the member over. Throws InflateError. */
  inflate(output: Buffer): Promise<Inflated> {
    this.#aim(output);
    return new Promise((resolve, reject) => {
      this.#calls.inflate.async(this.#state, (error, code) => {
        try {
          if (error) throw error;
          resolve(this.#result(output, code));
        } catch (failure) {
          reject(failure);
        }
      });
    });
  }

  /** The same on the calling thread. */
  inflateSync(output: Buffer): Inflated {
    this.#aim(output);
    return this.#result(output, this.#calls.inflate(this.#state));
  }

  #aim(output: Buffer): void {
    this.#state.writeBigUInt64LE(addressOf(output), field.nextOut);
    this.#state.writeUInt32LE(output.length, field.availableOut);
  }

  #result(output: Buffer, code: number): Inflated {
    if (code < 0) throw new InflateError(messages.get(code) ?? `isal_inflate failed with code ${code}`);
    return {
      length: output.length - this.#state.readUInt32LE(field.availableOut),
      ended: this.#state.readUInt32LE(field.blockState) === finished,
    };
  }
}
