/**
 * Writes classic BPF from its end to its beginning. Conditional jumps reach 255 instructions forward at most; since a
 * target is always written before what jumps to it, the distance is known, and a far target gets a long jump of its own.
 */

/** Codes of linux/bpf_common.h, as combined in seccomp filters. */
export const BPF = {
  LOAD: 0x20, // LD | W | ABS
  JA: 0x05, // JMP | JA
  JEQ: 0x15, // JMP | JEQ | K
  JGT: 0x25, // JMP | JGT | K
  JGE: 0x35, // JMP | JGE | K
  AND: 0x54, // ALU | AND | K
  RET: 0x06, // RET | K
} as const;

/** Largest distance of a conditional jump. */
const REACH = 255;
/** Most instructions of one filter (BPF_MAXINSNS). */
const MAX_INSTRUCTIONS = 4096;
/** struct sock_filter. */
const INSTRUCTION_SIZE = 8;

/** A place in the filter: how many instructions lie from it to the end. */
export type Place = number;

interface Instruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

export class BpfAssembler {
  /** Last instruction first. */
  readonly #reversed: Instruction[] = [];
  readonly #returns = new Map<number, Place>();

  get size(): number {
    return this.#reversed.length;
  }

  /** `return value`; an earlier written one within reach is used again. */
  ret(value: number): Place {
    const known = this.#returns.get(value);
    // A little less than the reach, as a few instructions may come between here and the jump.
    if (known !== undefined && this.size - known < REACH - 16) return known;
    const place = this.#put(BPF.RET, value);
    this.#returns.set(value, place);
    return place;
  }

  /** Load the 32 bits at `offset` of struct seccomp_data, then go on at `next`. */
  load(offset: number, next: Place): Place {
    this.#continueAt(next);
    return this.#put(BPF.LOAD, offset);
  }

  and(mask: number, next: Place): Place {
    this.#continueAt(next);
    return this.#put(BPF.AND, mask);
  }

  /** Compare the accumulator with `value` (unsigned). */
  branch(
    code: typeof BPF.JEQ | typeof BPF.JGT | typeof BPF.JGE,
    value: number,
    yes: Place,
    no: Place,
  ): Place {
    // What is too far gets a long jump right behind the comparison. Each may put the other out of reach, so the one
    // that is farther goes first.
    let [near, far] = yes >= no ? [yes, no] : [no, yes];
    far = this.#within(far, 1);
    near = this.#within(near, 0);
    far = this.#within(far, 0);
    const [jt, jf] = yes >= no ? [near, far] : [far, near];
    return this.#put(code, value, this.size - jt, this.size - jf);
  }

  /** The filter as an array of struct sock_filter. Throws RangeError if it is longer than the kernel takes. */
  finish(): Uint8Array {
    if (this.size > MAX_INSTRUCTIONS) throw new RangeError(`a seccomp filter of ${this.size} instructions`);
    const bytes = new Uint8Array(this.size * INSTRUCTION_SIZE);
    const view = new DataView(bytes.buffer);
    this.#reversed.toReversed().forEach(({ code, jt, jf, k }, index) => {
      const at = index * INSTRUCTION_SIZE;
      view.setUint16(at, code, true);
      view.setUint8(at + 2, jt);
      view.setUint8(at + 3, jf);
      view.setUint32(at + 4, k >>> 0, true);
    });
    return bytes;
  }

  /** A place from where `target` is reached, also after `more` further instructions. */
  #within(target: Place, more: number): Place {
    return this.size - target + more <= REACH ? target : this.#put(BPF.JA, this.size - target);
  }

  /** The next written instruction falls through: the one behind it must be `next`. */
  #continueAt(next: Place): void {
    if (next !== this.size) this.#put(BPF.JA, this.size - next);
  }

  #put(code: number, k: number, jt = 0, jf = 0): Place {
    this.#reversed.push({ code, jt, jf, k });
    return this.size;
  }
}
