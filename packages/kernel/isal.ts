/**
 * Fast gzip by Intel's ISA-L: several times zlib's speed at about the size of its level 2.
 *
 * Binds the streaming compressor and nothing else. The library is optional: `isalDeflater` answers undefined where it is
 * not installed, and callers compress with node:zlib. One compressor belongs to one thread and is never shared.
 */
import { isalBinding } from "#kernel/isal-library.ts";
import { addressOf } from "#kernel/libc.ts";

/** Level 3 of 0..3: 5 % larger than gzip -6, ten times as fast. */
const level = 3;
/** igzip_lib.h: sizeof(struct isal_zstream) is 82384 in 2.30 and 82400 in 2.31; room for a little growth. */
const streamSize = 96 << 10;
/** igzip_lib.h, ISAL_DEF_LVL3_EXTRA_LARGE or more. */
const levelBufferSize = 1 << 20;
/** Offsets in struct isal_zstream on 64-bit machines (igzip_lib.h; unchanged since 2.16). */
const field = {
  nextIn: 0,
  availableIn: 8,
  nextOut: 16,
  availableOut: 24,
  level: 40,
  levelBufferSize: 44,
  levelBuffer: 48,
  endOfStream: 56,
  flush: 58,
  gzipFlag: 60,
} as const;
/** IGZIP_GZIP: header and trailer of a gzip member. */
const gzip = 1;
/** Every call gets this much (but the last): what comes out must depend on the content alone, not on how it arrived. */
const inputSize = 256 << 10;
const outputSize = 256 << 10;

interface Functions {
  init: (stream: Buffer) => void;
  deflate: (stream: Buffer) => number;
}

const functions = isalBinding(
  (bind): Functions => ({
    init: bind("void isal_deflate_init(void *stream)"),
    deflate: bind("int isal_deflate(void *stream)"),
  }),
);

/** Can `isalDeflater` answer one here? */
export function hasIsal(): boolean {
  return functions() !== undefined;
}

/** Makes one gzip member out of what it is given; synchronous. */
export interface Deflater {
  /** Takes `chunk` (free for reuse at once); yields what is ready. */
  push(chunk: Uint8Array): Iterable<Buffer>;
  /** Yields the rest. No `push` after it. */
  finish(): Iterable<Buffer>;
}

/** A compressor of one stream; undefined where the library is not installed. */
export function isalDeflater(): Deflater | undefined {
  const calls = functions();
  return calls === undefined ? undefined : new IsalDeflater(calls);
}

class IsalDeflater implements Deflater {
  readonly #calls: Functions;
  // Slow allocations are never moved and never part of a shared pool: their addresses may be kept in the structure.
  readonly #stream = Buffer.allocUnsafeSlow(streamSize).fill(0);
  readonly #levelBuffer = Buffer.allocUnsafeSlow(levelBufferSize);
  readonly #input = Buffer.allocUnsafeSlow(inputSize);
  #filled = 0;

  constructor(calls: Functions) {
    this.#calls = calls;
    calls.init(this.#stream);
    this.#stream.writeUInt32LE(level, field.level);
    this.#stream.writeUInt32LE(levelBufferSize, field.levelBufferSize);
    this.#stream.writeBigUInt64LE(addressOf(this.#levelBuffer), field.levelBuffer);
    this.#stream.writeUInt16LE(gzip, field.gzipFlag);
  }

  *push(chunk: Uint8Array): Iterable<Buffer> {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + inputSize - this.#filled);
      this.#input.set(piece, this.#filled);
      this.#filled += piece.length;
      at += piece.length;
      if (this.#filled === inputSize) yield* this.#deflate(false);
    }
  }

  finish(): Iterable<Buffer> {
    return this.#deflate(true);
  }

  *#deflate(last: boolean): Iterable<Buffer> {
    const stream = this.#stream;
    stream.writeBigUInt64LE(addressOf(this.#input), field.nextIn);
    stream.writeUInt32LE(this.#filled, field.availableIn);
    stream.writeUInt16LE(last ? 1 : 0, field.endOfStream);
    this.#filled = 0;
    let full: boolean;
    do {
      const output = Buffer.allocUnsafeSlow(outputSize);
      stream.writeBigUInt64LE(addressOf(output), field.nextOut);
      stream.writeUInt32LE(outputSize, field.availableOut);
      const code = this.#calls.deflate(stream);
      if (code !== 0) throw new Error(`isal_deflate failed with code ${code}`);
      const free = stream.readUInt32LE(field.availableOut);
      full = free === 0;
      if (free < outputSize) yield output.subarray(0, outputSize - free);
      // A full output may hide more; input left over is never without one.
    } while (full || stream.readUInt32LE(field.availableIn) > 0);
  }
}
