/**
 * The door to libc: how its functions are bound, and how their failures become SyscallError.
 *
 * Only modules of this package import it. Functions are looked up in the running process (Node is linked with the
 * C library anyway), so nothing depends on the library's file name.
 */
import koffi from "koffi";
import { ERRNO } from "#kernel/errno.ts";
import { type SyscallArgument, SyscallError } from "#kernel/syscall-error.ts";

const process = koffi.load(null);

/** Numeric result and plain arguments; buffers are passed by address, strings as UTF-8 with a closing NUL. */
// biome-ignore lint/suspicious/noExplicitAny: koffi's own types are looser than any signature we could state here.
export type LibcFunction = (...args: any[]) => number;

/** Binds one function from its C prototype. The result must fit a JavaScript number. */
export function libcFunction(prototype: string): LibcFunction {
  return process.func(prototype) as LibcFunction;
}

/** The error number of the last failed call on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Throws the SyscallError of a call that just returned -1. */
export function fail(call: string, args: readonly SyscallArgument[]): never {
  throw new SyscallError(call, koffi.errno(), args);
}

/** Calls again while a signal interrupts; returns the result or throws. */
export function retrying(call: string, args: readonly SyscallArgument[], attempt: () => number): number {
  for (;;) {
    const result = attempt();
    if (result >= 0) return result;
    if (koffi.errno() !== ERRNO.EINTR) fail(call, args);
  }
}

/** Numbers of system calls that libc has no function for (or only in newer versions); equal on x64 and arm64. */
export const SYS = {
  pidfd_send_signal: 424,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfd_open: 434,
  openat2: 437,
  pidfd_getfd: 438,
  mount_setattr: 442,
  quotactl_fd: 443,
  fchmodat2: 452,
} as const;
