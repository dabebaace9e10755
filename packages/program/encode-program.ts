/** Instructions and data to the bytes that the launcher reads (README.md, section 1). Pure. */
import type { DataSection } from "#program/data-section.ts";
import {
  FLAG_AGAIN,
  FLAG_FULL,
  HEADER_SIZE,
  INSTRUCTION_SIZE,
  KIND,
  MAGIC,
  MAX_PROGRAM,
  MAX_SCRATCH,
  OP,
  type OpName,
  RELOCATION_SIZE,
  VERSION,
} from "#program/instruction-format.ts";
import type { Argument, Label, Register } from "#program/types.ts";

/** An instruction before encoding; also what the listing is made of. */
export interface Instruction {
  op: OpName;
  into?: Register | undefined;
  ignore?: number | undefined;
  full?: boolean | undefined;
  again?: boolean | undefined;
  /** Of SYS. */
  syscall?: Readonly<{ name: string; number: number }> | undefined;
  /** Of jumps, and of the child of FORK. */
  target?: Label | undefined;
  args: readonly Argument[];
  why: string;
}

/** Everything of a program before encoding. */
export interface ProgramParts {
  instructions: readonly Instruction[];
  /** The index of the instruction behind each label. */
  places: ReadonlyMap<Label, number>;
  data: DataSection;
  /** How many registers are in use. */
  registers: number;
  /** Where results go that nobody wants. */
  discard: Register;
}

/** Throws for labels that lead nowhere, and programs that are empty or larger than the launcher takes. */
export function encodeProgram(parts: ProgramParts): Uint8Array {
  const data = parts.data.finish();
  const count = parts.instructions.length;
  const relocations = HEADER_SIZE + count * INSTRUCTION_SIZE;
  const dataStart = relocations + data.relocations.length * RELOCATION_SIZE;
  const total = dataStart + data.bytes.length;
  if (count === 0) throw new RangeError("an empty program");
  if (total > MAX_PROGRAM || data.scratch > MAX_SCRATCH) {
    throw new RangeError(`a program of ${total} bytes and ${data.scratch} of scratch is too large`);
  }
  const bytes = new Uint8Array(total);
  // Everything is a multiple of eight long, and both architectures are little-endian.
  const words = new Int32Array(bytes.buffer);
  const { length } = data.relocations;
  const header = [MAGIC, VERSION, total, count, length, data.bytes.length, data.scratch, parts.registers];
  words.set(header);
  let word = HEADER_SIZE / 4;
  for (const instruction of parts.instructions) {
    encodeInstruction(words, word, instruction, parts);
    word += INSTRUCTION_SIZE / 4;
  }
  for (const { at, to } of data.relocations) {
    words[word++] = at;
    words[word++] = to;
  }
  bytes.set(data.bytes, dataStart);
  return bytes;
}

/** `at`: in words of 32 bits. Word by word, which is a tenth of the time a DataView and 64-bit integers take. */
function encodeInstruction(
  words: Int32Array,
  at: number,
  instruction: Instruction,
  parts: ProgramParts,
): void {
  const { op, into = parts.discard, ignore = 0, syscall, args } = instruction;
  const flags = (instruction.full ? FLAG_FULL : 0) | (instruction.again ? FLAG_AGAIN : 0);
  words[at] = OP[op] | (into.index << 8) | (ignore << 16);
  words[at + 1] = syscall?.number ?? jumpTarget(instruction, parts);
  let kinds = 0;
  let moreKinds = flags << 16;
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as Argument;
    const kind = encodeArgument(words, at + 4 + index * 2, argument, parts.data);
    if (index < 4) kinds |= kind << (index * 8);
    else moreKinds |= kind << ((index - 4) * 8);
  }
  words[at + 2] = kinds;
  words[at + 3] = moreKinds;
}

/** The index an instruction jumps to; 0 for those that don't. */
function jumpTarget({ target, why }: Instruction, { places, instructions }: ProgramParts): number {
  if (target === undefined) return 0;
  const index = places.get(target);
  if (index === undefined) throw new Error(`label ${target.name} is used but placed nowhere (${why})`);
  if (index >= instructions.length) {
    throw new Error(`label ${target.name} has no instruction behind it (${why})`);
  }
  return index;
}

/** Answers the kind. */
function encodeArgument(words: Int32Array, at: number, argument: Argument, data: DataSection): number {
  if (typeof argument === "number" || typeof argument === "bigint") {
    encodeNumber(words, at, argument);
    return KIND.IMMEDIATE;
  }
  switch (argument.kind) {
    case "register":
      words[at] = argument.index;
      return KIND.REGISTER;
    case "register-address":
      words[at] = argument.register.index;
      return KIND.REGISTER_ADDRESS;
    case "data":
      words[at] = data.resolve(argument.offset);
      return KIND.DATA;
  }
}

/** Both halves of a 64-bit register, the lower first. Throws RangeError for what is no integer. */
function encodeNumber(words: Int32Array, at: number, value: number | bigint): void {
  if (typeof value === "number" && (value | 0) === value) {
    words[at] = value;
    words[at + 1] = value < 0 ? -1 : 0;
    return;
  }
  // Flags like 0x8000000000000000n are written unsigned; the register is the same 64 bits.
  const bits = BigInt(value);
  words[at] = Number(BigInt.asIntN(32, bits));
  words[at + 1] = Number(BigInt.asIntN(32, bits >> 32n));
}
