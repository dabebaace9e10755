/**
 * C's functions on names in directories, for who makes something of them: file-syscalls.ts throws where they fail,
 * fuse/quick-calls.ts answers numbers.
 */
import { libcFunction } from "#kernel/libc.ts";

export const cStatx = libcFunction(
  "int statx(int dir, const char *path, int flags, unsigned int mask, void *out)",
);
export const cMkdirat = libcFunction("int mkdirat(int dir, const char *path, unsigned int mode)");
export const cMknodat = libcFunction(
  "int mknodat(int dir, const char *path, unsigned int mode, uint64_t device)",
);
export const cSymlinkat = libcFunction("int symlinkat(const char *target, int dir, const char *path)");
export const cLinkat = libcFunction(
  "int linkat(int dir, const char *path, int newDir, const char *newPath, int flags)",
);
export const cUnlinkat = libcFunction("int unlinkat(int dir, const char *path, int flags)");
export const cRenameat2 = libcFunction(
  "int renameat2(int dir, const char *path, int newDir, const char *newPath, unsigned int flags)",
);
export const cReadlinkat = libcFunction(
  "int64_t readlinkat(int dir, const char *path, void *out, size_t size)",
);
export const cFchownat = libcFunction(
  "int fchownat(int dir, const char *path, unsigned int uid, unsigned int gid, int flags)",
);
export const cFchmodat2 = libcFunction(
  "long syscall(long nr, long dir, const char *path, unsigned long mode, long flags)",
);
export const cUtimensat = libcFunction("int utimensat(int dir, const char *path, void *times, int flags)");
