/** What a request of the kernel is answered with when it fails: an error number, and nothing else reaches the caller. */
import type { ERRNO } from "#kernel/errno.ts";
import { errnoName, ERRNO as numbers } from "#kernel/errno.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

export class Refused extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(errnoName(errno));
    this.errno = errno;
  }
}

export function refuse(name: keyof typeof ERRNO): never {
  throw new Refused(numbers[name]);
}

/** Passes on the result of a quick call; throws what it failed with. */
export function checked(result: number): number {
  if (result < 0) throw new Refused(-result);
  return result;
}

/** The number to answer with; EIO for what is a fault of our own. */
export function errnoOf(error: unknown): number {
  if (error instanceof Refused || error instanceof SyscallError) return error.errno;
  return numbers.EIO;
}
