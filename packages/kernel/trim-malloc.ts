/**
 * What the C library's malloc holds free, given back to the kernel: it keeps the holes between what is in use, in all its
 * arenas, for ever (malloc_trim(3)). In a thread of the pool: an arena is locked while that goes on, about a millisecond.
 */
import { inThread, type LibcFunction, libcFunction } from "#kernel/libc.ts";

let trim: LibcFunction | undefined;

/** Resolves when it is done; at once where the C library has no such function. Never rejects. */
export async function trimMalloc(): Promise<void> {
  try {
    trim ??= libcFunction("int malloc_trim(size_t keep)");
    await inThread(trim, "malloc_trim", [0], []);
  } catch {
    // Nobody waits for the memory.
  }
}
