/**
 * Pipes and waiting: how bytes come to a worker thread, and go from it, without the event loop holding them.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, lastErrno, libcFunction } from "#kernel/libc.ts";
import { O_CLOEXEC, O_NONBLOCK } from "#kernel/syscalls.ts";

const cPipe2 = libcFunction("int pipe2(void *ends, int flags)");
const cFcntl = libcFunction("int fcntl(int fd, int command, long argument)");
const cPoll = libcFunction("int poll(void *entries, unsigned long count, int timeout)");

const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;

export interface Pipe {
  read: FileDescriptor;
  write: FileDescriptor;
}

/** A pipe, both ends close-on-exec, of `capacity` bytes if the kernel allows so much. */
export function makePipe(capacity = 1 << 20): Pipe {
  const ends = new Int32Array(2);
  if (cPipe2(ends, O_CLOEXEC) < 0) fail("pipe2", [O_CLOEXEC]);
  const [read = -1, write = -1] = ends;
  // Refused to users who have too many: the pipe works as it is.
  cFcntl(write, F_SETPIPE_SZ, capacity);
  return { read: new FileDescriptor(read), write: new FileDescriptor(write) };
}

/** Has the other side of a socket or pipe closed it altogether, so that nothing can be read or written any more? */
export function hasHungUp(fd: number): boolean {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  return cPoll(entry, 1, 0) > 0 && (entry.readInt16LE(6) & (POLLERR | POLLHUP)) !== 0;
}

/** From now on reads and writes of it never wait, whoever does them. */
export function makeNonblocking({ number }: FileDescriptor): void {
  const flags = cFcntl(number, F_GETFL, 0);
  if (flags < 0 || cFcntl(number, F_SETFL, flags | O_NONBLOCK) < 0) fail("fcntl", [number]);
}

const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
const POLLHUP = 16;

/**
 * Blocks the thread until the descriptor can be read (or written), has failed, or `milliseconds` have passed; tells whether
 * it is worth trying.
 */
export function awaitReady(fd: number, direction: "read" | "write", milliseconds: number): boolean {
  // struct pollfd: descriptor, wanted and actual events.
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(direction === "read" ? POLLIN : POLLOUT, 4);
  if (cPoll(entry, 1, milliseconds) < 0) {
    if (lastErrno() === ERRNO.EINTR) return false;
    fail("poll", [fd]);
  }
  return (entry.readInt16LE(6) & (POLLIN | POLLOUT | POLLERR | POLLHUP)) !== 0;
}
