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
  into?: Register;
  ignore?: number;
  full?: boolean;
  again?: boolean;
  /** Of SYS. */
  syscall?: { name: string; number: number };
  /** Of jumps, and of the child of FORK. */
  target?: Label;
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
  const view = new DataView(bytes.buffer);
  const { length } = data.relocations;
  const header = [MAGIC, VERSION, total, count, length, data.bytes.length, data.scratch, parts.registers];
  header.forEach((value, index) => {
    view.setUint32(index * 4, value, true);
  });
  parts.instructions.forEach((instruction, index) => {
    encodeInstruction(view, HEADER_SIZE + index * INSTRUCTION_SIZE, instruction, parts);
  });
  data.relocations.forEach(({ at, to }, index) => {
    view.setUint32(relocations + index * RELOCATION_SIZE, at, true);
    view.setUint32(relocations + index * RELOCATION_SIZE + 4, to, true);
  });
  bytes.set(data.bytes, dataStart);
  return bytes;
}

function encodeInstruction(view: DataView, at: number, instruction: Instruction, parts: ProgramParts): void {
  view.setUint8(at, OP[instruction.op]);
  view.setUint8(at + 1, (instruction.into ?? parts.discard).index);
  view.setUint16(at + 2, instruction.ignore ?? 0, true);
  view.setUint32(at + 4, instruction.syscall?.number ?? jumpTarget(instruction, parts), true);
  const flags = (instruction.full ? FLAG_FULL : 0) | (instruction.again ? FLAG_AGAIN : 0);
  view.setUint16(at + 14, flags, true);
  instruction.args.forEach((argument, index) => {
    const [kind, value] = encodeArgument(argument, parts.data);
    view.setUint8(at + 8 + index, kind);
    view.setBigInt64(at + 16 + index * 8, value, true);
  });
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

function encodeArgument(argument: Argument, data: DataSection): [kind: number, value: bigint] {
  if (typeof argument === "number" || typeof argument === "bigint") {
    // Flags like 0x8000000000000000n are written unsigned; the register is the same 64 bits.
    return [KIND.IMMEDIATE, BigInt.asIntN(64, BigInt(argument))];
  }
  switch (argument.kind) {
    case "register":
      return [KIND.REGISTER, BigInt(argument.index)];
    case "register-address":
      return [KIND.REGISTER_ADDRESS, BigInt(argument.register.index)];
    case "data":
      return [KIND.DATA, BigInt(data.resolve(argument.offset))];
  }
}
