/**
 * A system call that failed: which, with what, and why.
 *
 * `code` has the same form as that of Node's own file errors ("ENOENT"), so that one check serves both.
 */
import { type ERRNO, errnoName, errnoText } from "#kernel/errno.ts";

export type SyscallArgument = string | number | bigint;

export type ErrnoName = keyof typeof ERRNO;

export class SyscallError extends Error {
  /** Name of the system call: "openat2". */
  readonly call: string;
  /** The arguments worth showing, in the call's order; buffers are left out. */
  readonly args: readonly SyscallArgument[];
  /** Positive error number. */
  readonly errno: number;
  /** Its name: "ENOENT". */
  readonly code: string;

  constructor(call: string, errno: number, args: readonly SyscallArgument[] = []) {
    const shown = args.map((argument) => (argument === "" ? '""' : String(argument))).join(", ");
    super(`${call}(${shown}): ${errnoText(errno)} (${errnoName(errno)})`);
    this.name = "SyscallError";
    this.call = call;
    this.args = args;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** Is this a failed system call (ours or one of Node's) with one of these error names? */
export function isErrno(error: unknown, ...codes: ErrnoName[]): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return (codes as string[]).includes(String(error.code));
}
