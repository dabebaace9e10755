/**
 * The data section of a program under construction: strings, structs, pointers between them, and zeroed scratch room
 * that follows the data in the launcher's memory but is not sent.
 *
 * Where scratch begins is known only when all data is there, so references to it carry SCRATCH_BASE until `resolve`.
 */
import type { DataRef } from "#program/types.ts";

/** Above any offset that real data can have. */
const SCRATCH_BASE = 2 ** 40;
/** The data section begins at a multiple of this; no struct of the kernel's needs more. */
const MAX_ALIGN = 8;
/** Bytes, to begin with; most programs need no more. */
const FIRST_ROOM = 16_384;

export class DataSection {
  // Offset 0 stays unused: the format says "none" with it.
  #bytes = Buffer.alloc(FIRST_ROOM);
  #length = MAX_ALIGN;
  #scratch = 0;
  readonly #strings = new Map<string, DataRef>();
  readonly #pointers: { at: number; to: number }[] = [];
  /** What was put there, for listings. */
  readonly contents = new Map<number, string | readonly string[]>();

  string(text: string): DataRef {
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    if (text.includes("\0"))
      throw new RangeError(`a string with a NUL inside cannot be passed on: ${JSON.stringify(text)}`);
    const ref = this.#reserve(Buffer.byteLength(text) + 1, 1);
    this.#bytes.write(text, ref.offset);
    this.#strings.set(text, ref);
    this.contents.set(ref.offset, text);
    return ref;
  }

  bytes(content: Uint8Array, align = MAX_ALIGN): DataRef {
    const ref = this.#reserve(content.length, align);
    this.#bytes.set(content, ref.offset);
    return ref;
  }

  scratch(length: number, align = MAX_ALIGN): DataRef {
    this.#scratch = roundUp(this.#scratch, checkAlign(align));
    const offset = SCRATCH_BASE + this.#scratch;
    this.#scratch += length;
    return { kind: "data", offset, length };
  }

  stringArray(texts: readonly string[]): DataRef {
    const strings = texts.map((text) => this.string(text));
    const ref = this.struct(
      new Uint8Array((texts.length + 1) * 8),
      strings.map((to, index) => ({ at: index * 8, to })),
    );
    this.contents.set(ref.offset, [...texts]);
    return ref;
  }

  struct(content: Uint8Array, pointers: readonly { at: number; to: DataRef }[]): DataRef {
    const ref = this.bytes(content);
    for (const { at, to } of pointers) {
      if (at < 0 || at + 8 > content.length)
        throw new RangeError(`a pointer at ${at} lies outside of its struct`);
      this.#pointers.push({ at: ref.offset + at, to: to.offset });
    }
    return ref;
  }

  /** The offset the launcher sees. Right only when no more data comes. */
  resolve(offset: number): number {
    return offset < SCRATCH_BASE ? offset : offset - SCRATCH_BASE + roundUp(this.#length, MAX_ALIGN);
  }

  finish(): { bytes: Uint8Array; scratch: number; relocations: { at: number; to: number }[] } {
    return {
      bytes: this.#bytes.subarray(0, roundUp(this.#length, MAX_ALIGN)),
      scratch: roundUp(this.#scratch, MAX_ALIGN),
      relocations: this.#pointers.map(({ at, to }) => ({ at: this.resolve(at), to: this.resolve(to) })),
    };
  }

  #reserve(length: number, align: number): DataRef {
    const offset = roundUp(this.#length, checkAlign(align));
    this.#length = offset + length;
    if (this.#length + MAX_ALIGN > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length + MAX_ALIGN));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return { kind: "data", offset, length };
  }
}

function checkAlign(align: number): number {
  if (![1, 2, 4, 8].includes(align))
    throw new RangeError(`data can be aligned to 1, 2, 4 or 8 bytes, not ${align}`);
  return align;
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
