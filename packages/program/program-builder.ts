/**
 * Writes syscall programs: the one implementation of ProgramBuilder (types.ts).
 *
 * Instructions are kept as what the caller said until `finish`, which resolves labels and scratch, encodes, and leaves
 * the listing able to show names instead of numbers. Pure: it never asks the kernel anything.
 */
import { DataSection } from "#program/data-section.ts";
import { encodeProgram, type Instruction } from "#program/encode-program.ts";
import { errnoName, errnoText } from "#program/errno.ts";
import { ARGUMENTS, MAX_REGISTERS, RELAY_FLAG, RELAY_SIZE } from "#program/instruction-format.ts";
import { formatListing } from "#program/listing.ts";
import { type Architecture, syscallNumber } from "#program/syscall-numbers.ts";
import type {
  Argument,
  DataRef,
  ForkOptions,
  Label,
  Program,
  ProgramBuilder,
  Register,
  RegisterAddress,
  RelayOptions,
  SysOptions,
} from "#program/types.ts";

const CLONE_PIDFD = 0x1000n;
const CLONE_INTO_CGROUP = 0x2_0000_0000n;
/** struct clone_args up to and including `cgroup` (CLONE_ARGS_SIZE_VER2 of linux/sched.h), and its fields. */
const CLONE_ARGS = { size: 88, flags: 0, pidfd: 8, exitSignal: 32, cgroup: 80 } as const;
const SIGCHLD = 17;
/** Room for the digits of a 64-bit number, a sign and NUL. */
const DECIMAL_ROOM = 21;

/** A builder for programs that run on `arch`, by default this machine's. */
export function createProgramBuilder(arch: "x64" | "arm64" = hostArchitecture()): ProgramBuilder {
  return new Builder(arch);
}

function hostArchitecture(): "x64" | "arm64" {
  if (process.arch === "x64" || process.arch === "arm64") return process.arch;
  throw new RangeError(`programs can be made for x64 and arm64, not for ${process.arch}`);
}

const syscalls = new Map<string, Readonly<{ name: string; number: number }>>();

/** Kept: a program has hundreds, of some dozens of names. */
function syscallOf(name: string, arch: Architecture): Readonly<{ name: string; number: number }> | undefined {
  const key = arch + name;
  const known = syscalls.get(key);
  if (known !== undefined) return known;
  const number = syscallNumber(name, arch);
  if (number === undefined) return undefined;
  const syscall = { name, number };
  syscalls.set(key, syscall);
  return syscall;
}

class Builder implements ProgramBuilder {
  readonly report: Register;
  /** Takes the results nobody wants: every instruction has a destination in the format. */
  readonly #discard: Register;
  readonly #arch: Architecture;
  readonly #data = new DataSection();
  readonly #instructions: Instruction[] = [];
  readonly #places = new Map<Label, number>();
  #registers = 0;

  constructor(arch: Architecture) {
    this.#arch = arch;
    this.report = this.register("report");
    this.#discard = this.register("discard");
  }

  register(name: string): Register {
    if (this.#registers === MAX_REGISTERS)
      throw new RangeError(`a program has at most ${MAX_REGISTERS} registers`);
    return { kind: "register", index: this.#registers++, name };
  }

  label(name: string): Label {
    return { kind: "label", name };
  }

  place(label: Label): void {
    if (this.#places.has(label)) throw new Error(`label ${label.name} is placed twice`);
    this.#places.set(label, this.#instructions.length);
  }

  cstr(text: string): DataRef {
    return this.#data.string(text);
  }

  bytes(content: Uint8Array, align?: number): DataRef {
    return this.#data.bytes(content, align);
  }

  scratch(length: number, align?: number): DataRef {
    return this.#data.scratch(length, align);
  }

  cstrArray(texts: readonly string[]): DataRef {
    return this.#data.stringArray(texts);
  }

  struct(content: Uint8Array, pointers: readonly { at: number; to: DataRef }[]): DataRef {
    return this.#data.struct(content, pointers);
  }

  slice(ref: DataRef, start: number, length = ref.length - start): DataRef {
    if (start < 0 || length < 0 || start + length > ref.length) {
      throw new RangeError(`a slice of ${length} bytes at ${start} does not fit into ${ref.length} bytes`);
    }
    return { kind: "data", offset: ref.offset + start, length };
  }

  addressOf(register: Register): RegisterAddress {
    return { kind: "register-address", register };
  }

  sys(name: string, args: readonly Argument[], options: SysOptions): void {
    const syscall = syscallOf(name, this.#arch);
    const { into, ignore, full, again, why } = options;
    if (syscall === undefined) throw new RangeError(`${this.#arch} has no system call ${name} (${why})`);
    if (args.length > ARGUMENTS) throw new RangeError(`${name} with ${args.length} arguments (${why})`);
    this.#add({ op: "SYS", syscall, args, why, into, ignore, full, again });
  }

  set(register: Register, value: Argument, why: string): void {
    this.#add({ op: "SET", into: register, args: [value], why });
  }

  load(register: Register, from: DataRef, width: 1 | 2 | 4 | 8): void {
    checkRoom(from, width);
    this.#add({ op: "LOAD", into: register, args: [from, width], why: `load ${register.name}` });
  }

  store(register: Register, to: DataRef, width: 1 | 2 | 4 | 8): void {
    checkRoom(to, width);
    this.#add({ op: "STORE", into: register, args: [to, width], why: `store ${register.name}` });
  }

  formatDecimal(register: Register, to: DataRef, length?: Register): void {
    // Shorter room is the caller's business: the launcher refuses to overrun it.
    const room = Math.min(to.length, DECIMAL_ROOM);
    const why = `write ${register.name} in decimal`;
    this.#add({ op: "FMTDEC", args: [register, to, room], why, ...(length && { into: length }) });
  }

  jump(to: Label): void {
    this.#add({ op: "JMP", target: to, args: [], why: `go to ${to.name}` });
  }

  jumpIfNotZero(register: Register, to: Label): void {
    this.#add({
      op: "JNZ",
      into: register,
      target: to,
      args: [],
      why: `go to ${to.name} unless ${register.name} is 0`,
    });
  }

  jumpIfNegative(register: Register, to: Label): void {
    this.#add({
      op: "JNEG",
      into: register,
      target: to,
      args: [],
      why: `go to ${to.name} if ${register.name} < 0`,
    });
  }

  fork(options: ForkOptions): void {
    const { into, child, pidfd, cgroup, exitSignal = SIGCHLD, why } = options;
    let flags = BigInt(options.flags);
    if (pidfd !== undefined) flags |= CLONE_PIDFD;
    if (cgroup !== undefined) flags |= CLONE_INTO_CGROUP;
    const content = new Uint8Array(CLONE_ARGS.size);
    const view = new DataView(content.buffer);
    view.setBigUint64(CLONE_ARGS.flags, flags, true);
    view.setBigUint64(CLONE_ARGS.exitSignal, BigInt(exitSignal), true);
    const pidfdRoom = pidfd === undefined ? undefined : this.scratch(8);
    const args = this.struct(
      content,
      pidfdRoom === undefined ? [] : [{ at: CLONE_ARGS.pidfd, to: pidfdRoom }],
    );
    if (cgroup !== undefined) this.store(cgroup, this.slice(args, CLONE_ARGS.cgroup), 8);
    this.#add({ op: "FORK", into, target: child, args: [args, CLONE_ARGS.size], why });
    // Only the parent comes here: the child goes on at its label.
    if (pidfd !== undefined && pidfdRoom !== undefined) this.load(pidfd, pidfdRoom, 4);
  }

  loadNetlinkError(buffer: DataRef, length: Register, options: { ignore?: number; why: string }): void {
    const { ignore, why } = options;
    this.#add({ op: "LOADERR", args: [buffer, length], why, ...(ignore !== undefined && { ignore }) });
  }

  awaitExec(statusPipe: Register, child: Register): void {
    this.#add({ op: "AWAIT", args: [statusPipe, child], why: "wait for execve in the child" });
  }

  barrier(fd: Register, why: string): void {
    this.#add({ op: "BARRIER", args: [fd], why });
  }

  notify(kind: number, value: Argument): void {
    this.#add({ op: "NOTIFY", args: [kind, value], why: `note ${kind}` });
  }

  sendFd(socket: Register, fd: Register, why: string): void {
    this.#add({ op: "SENDFD", args: [socket, fd], why });
  }

  receiveFd(socket: Register, into: Register, why: string): void {
    this.#add({ op: "RECVFD", into, args: [socket], why });
  }

  relay(options: RelayOptions): void {
    const content = new Uint8Array(RELAY_SIZE);
    const view = new DataView(content.buffer);
    const descriptors = [options.stdin, options.stdout, options.stderr, options.log, options.listen];
    const texts = [options.exitPath, options.logAttrs, options.unlinkPath];
    let flags = 0;
    if (options.terminal) flags |= RELAY_FLAG.TERMINAL;
    if (options.logJson) flags |= RELAY_FLAG.LOG_JSON;
    if (options.logLocal) flags |= RELAY_FLAG.LOG_LOCAL;
    if (options.stdinOnce) flags |= RELAY_FLAG.STDIN_ONCE;
    if (options.closeOnExit) flags |= RELAY_FLAG.CLOSE_ON_EXIT;
    view.setUint32(0, options.pid.index, true);
    view.setUint32(4, flags, true);
    descriptors.forEach((register, index) => {
      view.setInt32(8 + index * 4, register?.index ?? -1, true);
    });
    view.setUint32(28, options.expectedAttaches, true);
    texts.forEach((text, index) => {
      view.setUint32(32 + index * 4, text ? this.cstr(text).offset : 0, true);
    });
    const { logRotation: rotation } = options;
    if (rotation !== undefined) {
      view.setInt32(44, rotation.directory.index, true);
      view.setBigUint64(48, BigInt(rotation.limit), true);
      view.setUint32(56, this.cstr(rotation.name).offset, true);
      view.setUint32(60, rotation.files, true);
    }
    this.#add({ op: "RELAY", args: [this.bytes(content)], why: "relay until the main process has ended" });
  }

  init(child: Register): void {
    this.#add({ op: "INIT", args: [child], why: "forward signals and reap as PID 1" });
  }

  supervise(child: Register, status: Register): void {
    this.#add({ op: "SUPERVISE", into: status, args: [child], why: `wait for ${child.name}` });
  }

  exit(code: number): void {
    this.#add({ op: "EXIT", args: [code], why: `exit with ${code}` });
  }

  finish(): Program {
    const bytes = encodeProgram({
      instructions: this.#instructions,
      places: this.#places,
      data: this.#data,
      registers: this.#registers,
      discard: this.#discard,
    });
    const instructions = this.#instructions;
    const places = this.#places;
    const labels = instructions.map(({ why }) => why);
    const contents = this.#data.contents;
    return {
      bytes,
      labels,
      listing: () => formatListing(instructions, places, contents),
      explain: (instruction, errno) =>
        `${labels[instruction] ?? `instruction ${instruction}`}: ${errnoName(errno)} (${errnoText(errno)})`,
    };
  }

  #add(instruction: Instruction): void {
    this.#instructions.push(instruction);
  }
}

function checkRoom(ref: DataRef, width: number): void {
  if (ref.length < width) throw new RangeError(`${width} bytes do not fit into ${ref.length}`);
}
