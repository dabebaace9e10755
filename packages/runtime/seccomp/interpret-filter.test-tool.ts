/** Runs a compiled filter as the kernel would, and evaluates rules without compiling: the two must agree. Tests only. */
import { type Architecture, syscallNumber } from "#program/syscall-numbers.ts";
import type { SpecSeccomp } from "#runtime/spec-types.ts";

export interface Call {
  /** AUDIT_ARCH_… value. */
  audit: number;
  number: number;
  args: bigint[];
}

/** The filter's result. Throws for a jump out of it or a load outside struct seccomp_data. */
export function runFilter(instructions: Uint8Array, call: Call): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.number, true);
  data.setUint32(4, call.audit, true);
  call.args.forEach((arg, index) => {
    data.setBigUint64(16 + index * 8, arg, true);
  });
  const view = new DataView(instructions.buffer, instructions.byteOffset, instructions.byteLength);
  let accumulator = 0;
  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    const code = view.getUint16(at, true);
    const k = view.getUint32(at + 4, true);
    const jump = (condition: boolean) => {
      pc += view.getUint8(condition ? at + 2 : at + 3);
    };
    if (code === 0x20) accumulator = data.getUint32(k, true);
    else if (code === 0x05) pc += k;
    else if (code === 0x15) jump(accumulator === k);
    else if (code === 0x25) jump(accumulator > k);
    else if (code === 0x35) jump(accumulator >= k);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x06) return k;
    else throw new Error(`instruction ${pc} has code ${code}`);
  }
}

const results: Record<string, (errno: number) => number> = {
  SCMP_ACT_KILL: () => 0,
  SCMP_ACT_KILL_THREAD: () => 0,
  SCMP_ACT_KILL_PROCESS: () => 0x8000_0000,
  SCMP_ACT_TRAP: () => 0x30000,
  SCMP_ACT_ERRNO: (errno) => 0x50000 + errno,
  SCMP_ACT_TRACE: (errno) => 0x7ff0_0000 + errno,
  SCMP_ACT_ALLOW: () => 0x7fff_0000,
  SCMP_ACT_LOG: () => 0x7ffc_0000,
  SCMP_ACT_NOTIFY: () => 0x7fc0_0000,
};

const resultOf = (action: string, errno: number | undefined): number =>
  results[action]?.(errno ?? 1) ?? Number.NaN;

/** What the rules say of a call, by looking at every one of them. `number` with x32's bit, as the kernel has it. */
export function evaluateRules(
  seccomp: SpecSeccomp,
  arch: Architecture,
  number: number,
  args: bigint[],
): number {
  const standard = resultOf(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const calls = seccomp.syscalls ?? [];
  const numberOf = (name: string) => syscallNumber(name, arch) ?? -1;
  const own = calls.filter(
    (call) =>
      call.names.some((name) => numberOf(name) === number) &&
      resultOf(call.action, call.errnoRet) !== standard,
  );
  const always = own.find((call) => !call.args?.length);
  if (always) return resultOf(always.action, always.errnoRet);
  for (const call of own) {
    const tests = (call.args ?? []).map((arg) => compare(arg, args[arg.index] ?? 0n));
    const repeated = new Set(call.args?.map((arg) => arg.index)).size < tests.length;
    if (repeated ? tests.some(Boolean) : tests.every(Boolean)) return resultOf(call.action, call.errnoRet);
  }
  const highest = Math.max(-1, ...calls.flatMap((call) => call.names.map(numberOf)));
  if (seccomp.defaultAction === "SCMP_ACT_ERRNO" && highest >= 0 && number > highest) return 0x50000 + 38;
  return standard;
}

function compare(
  { op, value, valueTwo = 0 }: { op: string; value: number | bigint; valueTwo?: number | bigint },
  actual: bigint,
): boolean {
  const wanted = BigInt.asUintN(64, BigInt(value));
  switch (op) {
    case "SCMP_CMP_EQ":
      return actual === wanted;
    case "SCMP_CMP_NE":
      return actual !== wanted;
    case "SCMP_CMP_LT":
      return actual < wanted;
    case "SCMP_CMP_LE":
      return actual <= wanted;
    case "SCMP_CMP_GT":
      return actual > wanted;
    case "SCMP_CMP_GE":
      return actual >= wanted;
    default:
      return (actual & wanted) === BigInt.asUintN(64, BigInt(valueTwo));
  }
}
