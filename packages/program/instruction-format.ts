/**
 * The numbers of the program format (README.md, sections 1 to 4), in one place for encoder, listing and tests.
 * The launcher has the same in launcher/program.h; a change here is a change there and of VERSION.
 */

/** "BRTH", little-endian. */
export const MAGIC = 0x48545242;
export const VERSION = 1;
export const HEADER_SIZE = 64;
export const INSTRUCTION_SIZE = 64;
export const RELOCATION_SIZE = 8;
/** Limits of the loader, in bytes and registers. */
export const MAX_PROGRAM = 16 * 1024 * 1024;
export const MAX_SCRATCH = 16 * 1024 * 1024;
export const MAX_REGISTERS = 256;
export const ARGUMENTS = 6;

export const OP = {
  SYS: 1,
  SET: 2,
  LOAD: 3,
  STORE: 4,
  FMTDEC: 5,
  JMP: 6,
  JNZ: 7,
  JNEG: 8,
  FORK: 9,
  LOADERR: 10,
  AWAIT: 11,
  BARRIER: 12,
  NOTIFY: 13,
  SENDFD: 14,
  RECVFD: 15,
  RELAY: 16,
  INIT: 17,
  SUPERVISE: 18,
  EXIT: 19,
} as const;
export type OpName = keyof typeof OP;

export const KIND = { IMMEDIATE: 0, DATA: 1, REGISTER: 2, REGISTER_ADDRESS: 3 } as const;

/** Instruction flag: the result must equal argument 2. */
export const FLAG_FULL = 1;

/** Instruction flag: the call is repeated while it answers EAGAIN, up to a thousand times. */
export const FLAG_AGAIN = 2;

/** Size of the RELAY parameters, and their flags. */
export const RELAY_SIZE = 64;
export const RELAY_FLAG = {
  TERMINAL: 1,
  LOG_JSON: 2,
  STDIN_ONCE: 4,
  CLOSE_ON_EXIT: 8,
  LOG_LOCAL: 16,
} as const;
