/**
 * Seccomp rules → a BPF program. Pure.
 *
 * One section per architecture; in it a balanced tree over ranges of system call numbers with the same outcome, so that
 * a call costs seven comparisons and not hundreds. Conditions on arguments compare all 64 bits.
 *
 * Semantics, those of the libraries Docker uses: rules for one call are alternatives, tried in order; a rule without
 * conditions decides for all arguments; conditions of one rule must all hold, unless two of them name the same argument,
 * then any. Calls unknown to this version are left to the default, and calls newer than every one the profile names give
 * ENOSYS where the default is another errno: programs then fall back to older calls instead of giving up.
 */
import { BerthError } from "#errors/errors.ts";
import { type Architecture, syscallNumber, X32_SYSCALL_BIT } from "#program/syscall-numbers.ts";
import { BPF, BpfAssembler, type Place } from "#runtime/seccomp/bpf-assembler.ts";
import type { SeccompAction, SpecSeccomp } from "#runtime/spec-types.ts";

/** Return values of linux/seccomp.h. */
const RET = {
  USER_NOTIF: 0x7fc0_0000,
  KILL_PROCESS: 0x8000_0000,
  KILL_THREAD: 0,
  TRAP: 0x0003_0000,
  ERRNO: 0x0005_0000,
  TRACE: 0x7ff0_0000,
  LOG: 0x7ffc_0000,
  ALLOW: 0x7fff_0000,
} as const;

/** Offsets in struct seccomp_data (little-endian): number, architecture, six 64-bit arguments. */
const DATA = { number: 0, architecture: 4, args: 16 } as const;

const EPERM = 1;
const ENOSYS = 38;
const MAX_ERRNO = 4095;
/** Data of a trace event: 16 bits. */
const MAX_TRACE_DATA = 0xffff;
const NO_CALL = 0xffff_ffff;

/** AUDIT_ARCH_… of linux/audit.h. x32 calls come under the x86-64 value, with a bit set in the number. */
const AUDIT = { x64: 0xc000_003e, x86: 0x4000_0003, arm64: 0xc000_00b7, arm: 0x4000_0028 } as const;

const architectures: Record<string, Architecture> = {
  SCMP_ARCH_X86_64: "x64",
  SCMP_ARCH_X86: "x86",
  SCMP_ARCH_X32: "x32",
  SCMP_ARCH_AARCH64: "arm64",
  SCMP_ARCH_ARM: "arm",
};

/** What libseccomp knows besides; no process here can make calls in them, so there is nothing to filter. */
const FOREIGN_ARCHITECTURES = new Set(
  (
    "LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 " +
    "S390 S390X SH SHEB"
  )
    .split(" ")
    .map((name) => `SCMP_ARCH_${name}`),
);

const flagBits: Record<string, number> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};

/** Gives the descriptor over which the filter notifies. */
const NEW_LISTENER = 8;

/** Names that a profile may use. */
export const SECCOMP_ARCHITECTURES: readonly string[] = Object.keys(architectures);
export const SECCOMP_FLAGS: readonly string[] = Object.keys(flagBits);

export interface CompiledFilter {
  /** Array of struct sock_filter. */
  instructions: Uint8Array;
  count: number;
  /** Flags for seccomp(2). */
  flags: number;
  /** Calls are told to a listener: installing the filter gives its descriptor. */
  notifies: boolean;
}

const compiled = new WeakMap<SpecSeccomp, Map<string, CompiledFilter>>();

/** The filter for a machine. Throws "invalid" for rules that mean nothing; remembered per rules object. */
export function compileFilter(seccomp: SpecSeccomp, machine: "x64" | "arm64"): CompiledFilter {
  const known = compiled.get(seccomp)?.get(machine);
  if (known !== undefined) return known;
  checkNotification(seccomp);
  const assembler = new BpfAssembler();
  writeFilter(assembler, seccomp, machine);
  const filter = {
    instructions: finish(assembler),
    count: assembler.size,
    flags: filterFlags(seccomp),
    notifies: notifies(seccomp),
  };
  const perMachine = compiled.get(seccomp) ?? new Map<string, CompiledFilter>();
  perMachine.set(machine, filter);
  compiled.set(seccomp, perMachine);
  return filter;
}

function writeFilter(to: BpfAssembler, seccomp: SpecSeccomp, machine: "x64" | "arm64"): void {
  const wanted = filteredArchitectures(seccomp, machine);
  const kill = to.ret(RET.KILL_PROCESS);
  let entry = kill;
  // The machine's own calls are asked for first, so they are written last.
  for (const arch of wanted.filter((name) => name !== "x32").toReversed()) {
    let section: Place;
    if (arch === "x64") {
      const x32 = wanted.includes("x32") ? writeTree(to, seccomp, "x32") : to.ret(RET.KILL_PROCESS);
      const x64 = writeTree(to, seccomp, "x64");
      // -1 is what a tracer puts there to skip a call; it has nothing to do with x32.
      const above = wanted.includes("x32") ? x32 : to.branch(BPF.JEQ, NO_CALL, x64, x32);
      section = to.load(DATA.number, to.branch(BPF.JGE, X32_SYSCALL_BIT, above, x64));
    } else {
      section = to.load(DATA.number, writeTree(to, seccomp, arch));
    }
    entry = to.branch(BPF.JEQ, AUDIT[arch as keyof typeof AUDIT], section, entry);
  }
  to.load(DATA.architecture, entry);
}

/** The machine's own architecture first. Names of other machines are of no concern here. */
function filteredArchitectures(seccomp: SpecSeccomp, machine: "x64" | "arm64"): Architecture[] {
  const family: Architecture[] = machine === "x64" ? ["x64", "x86", "x32"] : ["arm64", "arm"];
  const named = (seccomp.architectures ?? []).map((name) => {
    if (Object.hasOwn(architectures, name)) return architectures[name];
    if (FOREIGN_ARCHITECTURES.has(name)) return undefined;
    throw invalid(`architectures: unknown ${JSON.stringify(name)}`);
  });
  return family.filter((arch) => arch === machine || named.includes(arch));
}

interface Condition {
  index: number;
  op: string;
  value: bigint;
  valueTwo: bigint;
}

interface Rule {
  result: number;
  conditions: Condition[];
}

interface Range {
  /** First number of the range; it ends where the next begins. */
  start: number;
  /** What it leads to: a result, or rules to be tried. Ranges with the same key are one. */
  key: string;
  result: number;
  rules: Rule[];
}

function writeTree(to: BpfAssembler, seccomp: SpecSeccomp, arch: Architecture): Place {
  const ranges = rangesOf(seccomp, arch);
  const leaf = (range: Range) => writeRules(to, range.rules, range.result);
  const write = (from: number, until: number): Place => {
    if (until - from === 1) return leaf(ranges[from] as Range);
    const middle = (from + until) >> 1;
    const upper = write(middle, until);
    const lower = write(from, middle);
    return to.branch(BPF.JGE, (ranges[middle] as Range).start, upper, lower);
  };
  return write(0, ranges.length);
}

function rangesOf(seccomp: SpecSeccomp, arch: Architecture): Range[] {
  const standard = actionResult(seccomp.defaultAction, seccomp.defaultErrnoRet, "defaultErrnoRet");
  const byNumber = new Map<number, Rule[]>();
  let highest = -1;
  for (const call of seccomp.syscalls ?? []) {
    const result = actionResult(call.action, call.errnoRet, "errnoRet");
    for (const name of call.names ?? []) {
      const number = syscallNumber(name, arch);
      if (number === undefined) continue;
      highest = Math.max(highest, number);
      // Saying the default again says nothing; the call still counts as known.
      if (result === standard) continue;
      const rules = byNumber.get(number) ?? [];
      rules.push(...alternatives(call, result));
      byNumber.set(number, rules);
    }
  }
  const first = arch === "x32" ? X32_SYSCALL_BIT : 0;
  const plain = (start: number, result: number): Range => ({ start, key: `=${result}`, result, rules: [] });
  const ranges: Range[] = [plain(first, standard)];
  const add = (range: Range) => {
    const last = ranges.at(-1) as Range;
    if (last.start === range.start) ranges.pop();
    if (ranges.at(-1)?.key !== range.key) ranges.push(range);
  };
  for (const number of [...byNumber.keys()].sort((one, other) => one - other)) {
    const rules = byNumber.get(number) as Rule[];
    const always = rules.find((rule) => rule.conditions.length === 0);
    if (always) add(plain(number, always.result));
    else add({ start: number, key: `#${number}`, result: standard, rules });
    add(plain(number + 1, standard));
  }
  if (highest >= 0 && replacedByEnosys(seccomp, standard)) add(plain(highest + 1, RET.ERRNO | ENOSYS));
  return ranges;
}

/** Only an errno is replaced: whoever asked for a kill, a trap or a log wants exactly that. */
function replacedByEnosys(seccomp: SpecSeccomp, standard: number): boolean {
  return seccomp.defaultAction === "SCMP_ACT_ERRNO" && standard !== (RET.ERRNO | ENOSYS);
}

type Call = NonNullable<SpecSeccomp["syscalls"]>[number];

function alternatives(call: Call, result: number): Rule[] {
  const conditions = (call.args ?? []).map(readCondition);
  const indexes = new Set(conditions.map((condition) => condition.index));
  if (indexes.size === conditions.length) return [{ result, conditions }];
  return conditions.map((condition) => ({ result, conditions: [condition] }));
}

const operators = new Set(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map((op) => `SCMP_CMP_${op}`));

function readCondition(arg: NonNullable<Call["args"]>[number]): Condition {
  const { index, op, value, valueTwo = 0 } = arg;
  if (!Number.isInteger(index) || index < 0 || index > 5)
    throw invalid(`argument index ${index} out of range`);
  if (!operators.has(op)) throw invalid(`unknown operator ${op}`);
  return {
    index,
    op,
    value: BigInt.asUintN(64, BigInt(value)),
    valueTwo: BigInt.asUintN(64, BigInt(valueTwo)),
  };
}

function writeRules(to: BpfAssembler, rules: readonly Rule[], otherwise: number): Place {
  let next = to.ret(otherwise);
  for (const { result, conditions } of rules.toReversed()) {
    let yes = to.ret(result);
    for (const condition of conditions.toReversed()) yes = writeCondition(to, condition, yes, next);
    next = yes;
  }
  return next;
}

/** Two 32-bit halves: the upper decides unless it is equal. */
function writeCondition(to: BpfAssembler, condition: Condition, yes: Place, no: Place): Place {
  const { index, op, value, valueTwo } = condition;
  const low = DATA.args + index * 8;
  const high = low + 4;
  const lowWord = (word: bigint) => Number(word & 0xffff_ffffn);
  const highWord = (word: bigint) => Number(word >> 32n);
  switch (op) {
    case "SCMP_CMP_MASKED_EQ": {
      const lowTest = to.load(low, to.and(lowWord(value), to.branch(BPF.JEQ, lowWord(valueTwo), yes, no)));
      return to.load(high, to.and(highWord(value), to.branch(BPF.JEQ, highWord(valueTwo), lowTest, no)));
    }
    case "SCMP_CMP_NE":
      return writeCondition(to, { ...condition, op: "SCMP_CMP_EQ" }, no, yes);
    case "SCMP_CMP_LT":
      return writeCondition(to, { ...condition, op: "SCMP_CMP_GE" }, no, yes);
    case "SCMP_CMP_LE":
      return writeCondition(to, { ...condition, op: "SCMP_CMP_GT" }, no, yes);
    case "SCMP_CMP_EQ": {
      const lowTest = to.load(low, to.branch(BPF.JEQ, lowWord(value), yes, no));
      return to.load(high, to.branch(BPF.JEQ, highWord(value), lowTest, no));
    }
    default: {
      const code = op === "SCMP_CMP_GE" ? BPF.JGE : BPF.JGT;
      const lowTest = to.load(low, to.branch(code, lowWord(value), yes, no));
      const equal = to.branch(BPF.JEQ, highWord(value), lowTest, no);
      return to.load(high, to.branch(BPF.JGT, highWord(value), yes, equal));
    }
  }
}

/** What an action makes the kernel answer; `field` is where its errno was given. */
function actionResult(action: SeccompAction, errno: number | undefined, field: string): number {
  const highest = action === "SCMP_ACT_TRACE" ? MAX_TRACE_DATA : MAX_ERRNO;
  const code = errno ?? EPERM;
  if (!Number.isInteger(code) || code < 0 || code > highest)
    throw invalid(`${field}: errno ${errno} out of range`);
  switch (action) {
    case "SCMP_ACT_ERRNO":
      return RET.ERRNO | code;
    case "SCMP_ACT_TRACE":
      return RET.TRACE | code;
  }
  const result = Object.hasOwn(plainResults, action) ? plainResults[action] : undefined;
  if (result === undefined) throw invalid(`unknown action ${action}`);
  if (errno !== undefined) throw invalid(`${field}: the action ${action} has no errno`);
  return result;
}

const plainResults: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: RET.KILL_THREAD,
  SCMP_ACT_KILL_THREAD: RET.KILL_THREAD,
  SCMP_ACT_KILL_PROCESS: RET.KILL_PROCESS,
  SCMP_ACT_TRAP: RET.TRAP,
  SCMP_ACT_ALLOW: RET.ALLOW,
  SCMP_ACT_LOG: RET.LOG,
  SCMP_ACT_NOTIFY: RET.USER_NOTIF,
};

const NOTIFY = "SCMP_ACT_NOTIFY";

/** Does a call have to be answered by somebody outside? */
export function notifies({ syscalls }: SpecSeccomp): boolean {
  return syscalls?.some(({ action }) => action === NOTIFY) ?? false;
}

/** Is it this call that is answered outside? */
export function asksFor({ syscalls = [] }: SpecSeccomp, call: string): boolean {
  return syscalls.some(({ action, names }) => action === NOTIFY && names?.includes(call));
}

/** The process tells by a write that there is a listener, so nobody could answer for that. */
function checkNotification(seccomp: SpecSeccomp): void {
  const { defaultAction, listenerPath } = seccomp;
  if (defaultAction === NOTIFY) throw invalid(`${NOTIFY} cannot be used as default action`);
  if (asksFor(seccomp, "write")) throw invalid(`${NOTIFY} cannot be used for the write syscall`);
  if (notifies(seccomp) && !listenerPath)
    throw invalid(`listenerPath: it is not set, and ${NOTIFY} needs somebody to notify`);
}

function filterFlags(seccomp: SpecSeccomp): number {
  // Mitigations against speculation are left to the system's own setting, unless flags are given.
  const names = seccomp.flags ?? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
  let bits = notifies(seccomp) ? NEW_LISTENER : 0;
  for (const name of names) {
    if (!Object.hasOwn(flagBits, name)) throw invalid(`flags: unknown flag ${JSON.stringify(name)}`);
    // The program has one thread: TSYNC would only change the meaning of the result.
    if (name === "SECCOMP_FILTER_FLAG_TSYNC") continue;
    // About waiting for a listener; without one the kernel refuses it.
    if (name === "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" && !notifies(seccomp)) continue;
    bits |= flagBits[name] ?? 0;
  }
  return bits;
}

function finish(assembler: BpfAssembler): Uint8Array {
  try {
    return assembler.finish();
  } catch (cause) {
    throw invalid(cause instanceof Error ? `too long: ${cause.message}` : "too long");
  }
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", `linux.seccomp: ${message}`, { operation: "compile seccomp filter" });
}
