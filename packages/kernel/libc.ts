/**
 * The door to libc: how its functions are bound, and how their failures become SyscallError.
 *
 * Only modules of this package import it. Functions are looked up in the running process (Node is linked with the
 * C library anyway), so nothing depends on the library's file name.
 */
import { createRequire } from "node:module";
import { binding } from "#kernel/binding-gate.ts";
import { ERRNO } from "#kernel/errno.ts";
import { type SyscallArgument, SyscallError } from "#kernel/syscall-error.ts";

type Koffi = typeof import("koffi").default;
// Not imported: to load it is not to be interrupted either.
const koffi = binding(() => createRequire(import.meta.url)("koffi") as Koffi);

/** Binds a function of one library from its C prototype. */
// biome-ignore lint/suspicious/noExplicitAny: what its types are the prototype says.
export type Bind = (prototype: string) => any;

/** A way to bind functions of a library, null for those of the process itself. Throws where there is none of that name. */
export function openLibrary(name: string | null): Bind {
  const library = binding(() => koffi.load(name));
  return (prototype) => binding(() => library.func(prototype));
}

/** Where it is in memory, for structures that hold pointers; whoever asks keeps it alive. */
export const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);

const bind = openLibrary(null);

/** Numeric result and plain arguments; buffers are passed by address, strings as UTF-8 with a closing NUL. */
// biome-ignore lint/suspicious/noExplicitAny: koffi's own types are looser than any signature we could state here.
export type LibcFunction = (...args: any[]) => number;

/**
 * errno of this thread, as memory. To ask for it would be too late: what is made between a call and the question may have
 * garbage collected, and V8's own system calls leave their errors there.
 */
const errno = new Int32Array(binding(() => koffi.view(bind("void *__errno_location()")(), 4)));
/** What it was after the last call. */
let last = 0;

/** Binds one function from its C prototype. The result must fit a JavaScript number. */
export function libcFunction(prototype: string): LibcFunction {
  const native = bind(prototype) as LibcFunction & { async: unknown };
  return Object.assign(keepingErrno(native, prototype.split(",").length), { async: native.async });
}

/**
 * Between a call and the look nothing is made or called. One for each number of parameters: to collect them in an array costs
 * as much as the call.
 */
function keepingErrno(native: LibcFunction, parameters: number): LibcFunction {
  switch (parameters) {
    case 1:
      return (a) => {
        const result = native(a);
        last = errno[0] as number;
        return result;
      };
    case 2:
      return (a, b) => {
        const result = native(a, b);
        last = errno[0] as number;
        return result;
      };
    case 3:
      return (a, b, c) => {
        const result = native(a, b, c);
        last = errno[0] as number;
        return result;
      };
    case 4:
      return (a, b, c, d) => {
        const result = native(a, b, c, d);
        last = errno[0] as number;
        return result;
      };
    case 5:
      return (a, b, c, d, e) => {
        const result = native(a, b, c, d, e);
        last = errno[0] as number;
        return result;
      };
    default:
      return (...all) => {
        const result = native(...all);
        last = errno[0] as number;
        return result;
      };
  }
}

/** The error number of the last call on this thread, if that failed. */
export function lastErrno(): number {
  return last;
}

/** The same call in a thread of the pool: for what the kernel takes its time for. */
export function inThread(
  call: LibcFunction,
  name: string,
  args: readonly unknown[],
  shown: readonly SyscallArgument[],
): Promise<number> {
  const { async: slowly } = call as unknown as { async(...args: unknown[]): void };
  return new Promise((resolve, reject) => {
    slowly(...args, (error: unknown, result: number) => {
      // koffi puts that thread's there for as long as this runs.
      const number = errno[0] as number;
      if (error) reject(error);
      else if (result < 0) reject(new SyscallError(name, number, shown));
      else resolve(result);
    });
  });
}

/** Throws the SyscallError of a call that just returned -1. */
export function fail(call: string, args: readonly SyscallArgument[]): never {
  throw new SyscallError(call, last, args);
}

/** Calls again while a signal interrupts; returns the result or throws. */
export function retrying(call: string, args: readonly SyscallArgument[], attempt: () => number): number {
  for (;;) {
    const result = attempt();
    if (result >= 0) return result;
    if (last !== ERRNO.EINTR) fail(call, args);
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
