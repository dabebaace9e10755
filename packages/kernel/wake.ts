/**
 * Waking a thread that waits in a Poller: an eventfd that one side writes and the other drains.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";

const cEventfd = libcFunction("int eventfd(unsigned int initial, int flags)");
const cRead = libcFunction("int64_t read(int fd, void *buffer, size_t count)");
const cWrite = libcFunction("int64_t write(int fd, void *buffer, size_t count)");

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
const counter = Buffer.alloc(8);

/** A descriptor that polls readable from a `wake` on until it is drained. */
export function wakeDescriptor(): FileDescriptor {
  const fd = cEventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) fail("eventfd", []);
  return new FileDescriptor(fd);
}

export function wake(fd: number): void {
  // The one failure, a full counter, means that it is awake already.
  cWrite(fd, one, one.length);
}

/** Makes it wait for the next wake. */
export function drainWakes(fd: number): void {
  cRead(fd, counter, counter.length);
}
