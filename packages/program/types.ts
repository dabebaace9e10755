/**
 * The vocabulary in which the rest of the house writes syscall programs.
 *
 * A ProgramBuilder is filled instruction by instruction, each with a `why` that becomes the error text when the
 * kernel refuses it. It is pure: nothing here touches the kernel. See README.md of this package for the format.
 */

/** A register of the program, by allocation. Register 0 is always the report descriptor. */
export interface Register {
  readonly kind: "register";
  readonly index: number;
  readonly name: string;
}

/** A place in the program's data section. */
export interface DataRef {
  readonly kind: "data";
  readonly offset: number;
  readonly length: number;
}

/** Address of a register (for system calls that write a value back). */
export interface RegisterAddress {
  readonly kind: "register-address";
  readonly register: Register;
}

export type Argument = number | bigint | Register | DataRef | RegisterAddress;

/** A jump target, placed once with `place`. */
export interface Label {
  readonly kind: "label";
  readonly name: string;
}

/** As `ignore`: no errno is a failure. For attempts, such as an execve along PATH. */
export const ANY_ERRNO = 0xffff;

export interface SysOptions {
  /** Register that receives the result. */
  into?: Register;
  /** An errno (number) that is not a failure, or ANY_ERRNO; `into` then holds its negative. */
  ignore?: number;
  /** The result must equal argument 2 (a short write is a failure). */
  full?: boolean;
  /** EAGAIN is an invitation: openat2 gives it when somebody renames or mounts while it goes up a path. */
  again?: boolean;
  /** The label of this instruction in errors and listings: "mount proc on /proc". Always given. */
  why: string;
}

export interface ForkOptions {
  /** Clone flags (CLONE_NEW…). CLONE_PIDFD and CLONE_INTO_CGROUP are set through the fields below. */
  flags: number | bigint;
  /** Receives the pid in the parent. */
  into: Register;
  /** Where the child goes on. */
  child: Label;
  /** Receives a pidfd in the parent. */
  pidfd?: Register;
  /** A descriptor of a cgroup v2 directory to be born in. */
  cgroup?: Register;
  exitSignal?: number;
  why: string;
}

/** Parameters of the relay, see README.md section 4. */
export interface RelayOptions {
  pid: Register;
  terminal: boolean;
  /** The log's form: entries of json-file, of local, or (neither) the bytes as they come. */
  logJson: boolean;
  logLocal?: boolean;
  stdinOnce: boolean;
  closeOnExit: boolean;
  stdin?: Register;
  stdout?: Register;
  stderr?: Register;
  log?: Register;
  listen?: Register;
  expectedAttaches: number;
  exitPath?: string;
  logAttrs?: string;
  /** Begin a new log file when the current one has `limit` bytes. `files`: how many there may be; 0 for any number. */
  logRotation?: { directory: Register; name: string; limit: number; files: number };
  unlinkPath?: string;
}

export interface ProgramBuilder {
  /** The report descriptor, register 0. */
  readonly report: Register;
  register(name: string): Register;
  label(name: string): Label;
  place(label: Label): void;

  /** NUL-terminated string in the data section (identical strings are stored once). */
  cstr(text: string): DataRef;
  bytes(content: Uint8Array, align?: number): DataRef;
  /** Zeroed, writable room. */
  scratch(length: number, align?: number): DataRef;
  /** NULL-terminated array of pointers to strings (argv, envp). */
  cstrArray(texts: readonly string[]): DataRef;
  /** A struct with pointers in it: `content` with the addresses of `pointers[].to` put at `pointers[].at`. */
  struct(content: Uint8Array, pointers: readonly { at: number; to: DataRef }[]): DataRef;
  /** A part of a data reference. */
  slice(ref: DataRef, start: number, length?: number): DataRef;
  addressOf(register: Register): RegisterAddress;

  /** A system call by name ("openat"); the number is looked up for the architecture. */
  sys(name: string, args: readonly Argument[], options: SysOptions): void;
  set(register: Register, value: Argument, why: string): void;
  load(register: Register, from: DataRef, width: 1 | 2 | 4 | 8): void;
  store(register: Register, to: DataRef, width: 1 | 2 | 4 | 8): void;
  /** Digits and NUL; `length` receives how many characters, NUL not counted. */
  formatDecimal(register: Register, to: DataRef, length?: Register): void;
  jump(to: Label): void;
  jumpIfNotZero(register: Register, to: Label): void;
  jumpIfNegative(register: Register, to: Label): void;
  fork(options: ForkOptions): void;
  /** Check the netlink acknowledgement in `buffer`, `length` bytes of it valid. */
  loadNetlinkError(buffer: DataRef, length: Register, options: { ignore?: number; why: string }): void;
  awaitExec(statusPipe: Register, child: Register): void;
  barrier(fd: Register, why: string): void;
  notify(kind: number, value: Argument): void;
  sendFd(socket: Register, fd: Register, why: string): void;
  receiveFd(socket: Register, into: Register, why: string): void;
  relay(options: RelayOptions): void;
  init(child: Register): void;
  supervise(child: Register, status: Register): void;
  exit(code: number): void;

  finish(): Program;
}

/** A finished program: the bytes for the launcher, and what a person needs to read it. */
export interface Program {
  readonly bytes: Uint8Array;
  /** One per instruction: what it is for. */
  readonly labels: readonly string[];
  /** A readable listing, one instruction a line (what `berth debug program` prints). */
  listing(): string;
  /** "mount proc on /proc: EPERM (Operation not permitted)" for a failed instruction. */
  explain(instruction: number, errno: number): string;
}
