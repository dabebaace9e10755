/**
 * System call numbers by name, for every architecture a container's processes can make calls in.
 *
 * Two uses: the program builder turns names into numbers of the machine's own architecture; the seccomp compiler
 * needs the others too, since an x86-64 kernel also takes 32-bit and x32 calls. The data is in syscall-table.ts.
 */
import { SYSCALL_TABLE } from "./syscall-table.ts";

/** The order of the columns in syscall-table.ts. */
export const ARCHITECTURES = ["x64", "arm64", "x86", "arm", "x32"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** Set in every system call number of the x32 ABI (__X32_SYSCALL_BIT of asm/unistd.h). */
export const X32_SYSCALL_BIT = 0x40000000;

/** The number as the kernel sees it (x32 with its flag bit), or undefined where the architecture has no such call. */
export function syscallNumber(name: string, arch: Architecture): number | undefined {
  // Own properties only: "constructor" is no system call.
  if (!Object.hasOwn(SYSCALL_TABLE, name)) return undefined;
  const number = SYSCALL_TABLE[name]?.[ARCHITECTURES.indexOf(arch)] ?? -1;
  if (number < 0) return undefined;
  return arch === "x32" ? number + X32_SYSCALL_BIT : number;
}

/** Is it a system call on any architecture? */
export function isSyscallName(name: string): boolean {
  return Object.hasOwn(SYSCALL_TABLE, name);
}

const namesByNumber = new Map<Architecture, Map<number, string>>();

/** "openat" for 257 on x64; undefined for a number that isn't taken. */
export function syscallName(number: number, arch: Architecture): string | undefined {
  let names = namesByNumber.get(arch);
  if (names === undefined) {
    names = new Map();
    for (const name of Object.keys(SYSCALL_TABLE)) {
      const value = syscallNumber(name, arch);
      // Two spellings of one number are rare (fstatat64, newfstatat); the first in the alphabet stands for both.
      if (value !== undefined && !names.has(value)) names.set(value, name);
    }
    namesByNumber.set(arch, names);
  }
  return names.get(number);
}
