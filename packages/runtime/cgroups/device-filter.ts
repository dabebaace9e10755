/**
 * Which devices a container on version 2 control groups may use: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.
 * Pure: made from the rules as an array of struct bpf_insn. The last rule that speaks of an access decides, and where
 * none does it is refused.
 */
import { BerthError } from "#errors/errors.ts";
import type { SpecDeviceRule } from "#runtime/spec-types.ts";

/** Values of linux/bpf.h. */
export const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
export const BPF_CGROUP_DEVICE = 6;
const TYPE = { b: 1, c: 2 } as const;
const ACCESS = { m: 1, r: 2, w: 4 } as const;
const ALL_ACCESS = 7;

const OP = {
  LOAD_WORD: 0x61, // LDX | W | MEM
  MOVE32: 0xbc, // ALU | MOV | X
  MOVE32_K: 0xb4, // ALU | MOV | K
  AND32_K: 0x54, // ALU | AND | K
  SHIFT_RIGHT32_K: 0x74, // ALU | RSH | K
  JUMP_IF_NOT_K: 0x55, // JMP | JNE | K
  JUMP_IF_NOT: 0x5d, // JMP | JNE | X
  JUMP_IF_K: 0x15, // JMP | JEQ | K
  EXIT: 0x95,
} as const;

/** r0: result, r1: context and then scratch, r2: type, r3: access, r4: major, r5: minor. */
const [RESULT, CONTEXT, TYPE_REGISTER, ACCESS_REGISTER, MAJOR, MINOR] = [0, 1, 2, 3, 4, 5];

const INSTRUCTION_SIZE = 8;

interface Instruction {
  code: number;
  to: number;
  from?: number;
  offset?: number;
  value?: number;
}

/** The program for these rules. Throws "invalid" for a rule that is none. */
export function deviceFilter(rules: readonly SpecDeviceRule[]): Uint8Array {
  // struct bpf_cgroup_dev_ctx: access and type in one word, major, minor.
  const code: Instruction[] = [
    { code: OP.LOAD_WORD, to: TYPE_REGISTER, from: CONTEXT, offset: 0 },
    { code: OP.AND32_K, to: TYPE_REGISTER, value: 0xffff },
    { code: OP.LOAD_WORD, to: ACCESS_REGISTER, from: CONTEXT, offset: 0 },
    { code: OP.SHIFT_RIGHT32_K, to: ACCESS_REGISTER, value: 16 },
    { code: OP.LOAD_WORD, to: MAJOR, from: CONTEXT, offset: 4 },
    { code: OP.LOAD_WORD, to: MINOR, from: CONTEXT, offset: 8 },
  ];
  for (const rule of rules.toReversed()) {
    const tests = ruleTests(rule);
    code.push(...jumpsPast(tests), ...answer(rule.allow));
    // Nothing behind a rule for everything is ever reached, and the kernel refuses code that isn't.
    if (tests.length === 0) return encode(code);
  }
  code.push(...answer(false));
  return encode(code);
}

function answer(allow: boolean): Instruction[] {
  return [
    { code: OP.MOVE32_K, to: RESULT, value: allow ? 1 : 0 },
    { code: OP.EXIT, to: 0 },
  ];
}

/** Tests of one rule; the jumps among them have yet to learn how far. */
function ruleTests(rule: SpecDeviceRule): Instruction[] {
  const { type = "a", major = -1, minor = -1, access = "rwm" } = rule;
  const tests: Instruction[] = [];
  if (type === "b" || type === "c")
    tests.push({ code: OP.JUMP_IF_NOT_K, to: TYPE_REGISTER, value: TYPE[type] });
  else if (type !== "a") throw invalid(`type ${JSON.stringify(type)}`);
  let bits = 0;
  for (const letter of access) {
    if (letter !== "r" && letter !== "w" && letter !== "m") throw invalid(`access ${JSON.stringify(access)}`);
    bits |= ACCESS[letter];
  }
  if (bits !== ALL_ACCESS) {
    tests.push(
      { code: OP.MOVE32, to: CONTEXT, from: ACCESS_REGISTER },
      { code: OP.AND32_K, to: CONTEXT, value: bits },
      // To allow, a rule must cover all that is asked for; to refuse, any of it.
      rule.allow
        ? { code: OP.JUMP_IF_NOT, to: CONTEXT, from: ACCESS_REGISTER }
        : { code: OP.JUMP_IF_K, to: CONTEXT, value: 0 },
    );
  }
  if (major >= 0) tests.push({ code: OP.JUMP_IF_NOT_K, to: MAJOR, value: major });
  if (minor >= 0) tests.push({ code: OP.JUMP_IF_NOT_K, to: MINOR, value: minor });
  return tests;
}

/** Every jump goes behind the rule: its remaining tests and the two instructions of its answer. */
function jumpsPast(tests: Instruction[]): Instruction[] {
  const jumps: readonly number[] = [OP.JUMP_IF_NOT_K, OP.JUMP_IF_NOT, OP.JUMP_IF_K];
  return tests.map((test, index) =>
    jumps.includes(test.code) ? { ...test, offset: tests.length - 1 - index + 2 } : test,
  );
}

function encode(code: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(code.length * INSTRUCTION_SIZE);
  const view = new DataView(bytes.buffer);
  code.forEach((instruction, index) => {
    const at = index * INSTRUCTION_SIZE;
    view.setUint8(at, instruction.code);
    view.setUint8(at + 1, instruction.to | ((instruction.from ?? 0) << 4));
    view.setInt16(at + 2, instruction.offset ?? 0, true);
    view.setInt32(at + 4, instruction.value ?? 0, true);
  });
  return bytes;
}

function invalid(what: string): BerthError {
  return new BerthError("invalid", `invalid device rule: ${what}`, { operation: "compile device filter" });
}
