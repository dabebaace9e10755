/** A file whose lock stands for something that one process at a time may do or be. */
import { fstatSync, lstatSync } from "node:fs";
import { FileDescriptor } from "#kernel/fd.ts";
import { libcFunction, retrying } from "#kernel/libc.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { O_CREAT, O_NOFOLLOW, O_RDWR, open } from "#kernel/syscalls.ts";

const cFlock = libcFunction("int flock(int fd, int operation)");
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Waits, the thread standing still, until it has the lock; gives it back when disposed. For moments only. */
export function lockFile(path: string): FileDescriptor {
  const fd = new FileDescriptor(open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600));
  try {
    retrying("flock", [path], () => cFlock(fd.number, LOCK_EX));
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/**
 * The lock for as long as the descriptor is open, or undefined where another process has it. Who removes the file does so
 * while it has the lock.
 */
export function tryLockFile(path: string, mode = 0o600): FileDescriptor | undefined {
  for (;;) {
    const fd = new FileDescriptor(open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode));
    try {
      retrying("flock", [path], () => cFlock(fd.number, LOCK_EX | LOCK_NB));
      // Removed by who had the lock before: the next one makes a file of its own.
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd.number).ino) return fd;
      fd.close();
    } catch (error) {
      fd.close();
      if (isErrno(error, "EAGAIN")) return undefined;
      throw error;
    }
  }
}
