/**
 * Network namespaces of one thread: a worker makes sockets in another one and comes back. A socket stays where it was
 * made. The other threads of the process stay where they are. Never called on the main thread.
 */
import { isMainThread } from "node:worker_threads";
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";

const cSetns = libcFunction("int setns(int fd, int type)");
const cIoctl = libcFunction("int ioctl(int fd, unsigned long request)");

const CLONE_NEWNET = 0x40000000;
/** linux/sockios.h: a descriptor of the namespace a socket is in. */
const SIOCGSKNS = 0x894c;

/** A descriptor of the network namespace the socket is in (close-on-exec). */
export function networkOfSocket(socket: number): number {
  const fd = cIoctl(socket, SIOCGSKNS);
  if (fd < 0) fail("ioctl", [socket, "SIOCGSKNS"]);
  return fd;
}

/** Runs `work`, synchronously, with this thread in the namespace that `namespace` is open on. */
export function inNetwork<T>(namespace: number, work: () => T): T {
  if (isMainThread) throw new Error("the main thread stays in its network namespace");
  using home = new FileDescriptor(open("/proc/thread-self/ns/net", O_RDONLY));
  if (cSetns(namespace, CLONE_NEWNET) < 0) fail("setns", [namespace, CLONE_NEWNET]);
  try {
    return work();
  } finally {
    // A thread that is stuck elsewhere must not go on for anybody: what it throws here ends it.
    if (cSetns(home.number, CLONE_NEWNET) < 0) fail("setns", [home.number, CLONE_NEWNET]);
  }
}
