/**
 * Processes by pidfd and by number.
 *
 * A pid alone may be another process by the time it is used: prefer pidfds, or compare start times
 * (process-status.ts) before a signal is sent. Joining namespaces is not offered: setns works per thread, and
 * Node's threads are not ours to move.
 */
import { ERRNO } from "#kernel/errno.ts";
import { fail, lastErrno, libcFunction, SYS } from "#kernel/libc.ts";

const cPidfdOpen = libcFunction("long syscall(long nr, long pid, unsigned long flags)");
const cPidfdSendSignal = libcFunction(
  "long syscall(long nr, long pidfd, long signal, void *info, unsigned long flags)",
);
const cPidfdGetfd = libcFunction("long syscall(long nr, long pidfd, long target, unsigned long flags)");
const cKill = libcFunction("int kill(int pid, int signal)");

/** A descriptor of the process (close-on-exec); it polls readable once the process has ended. */
export function pidfdOpen(pid: number): number {
  const fd = cPidfdOpen(SYS.pidfd_open, pid, 0);
  if (fd < 0) fail("pidfd_open", [pid]);
  return fd;
}

/** Sends a signal; false if the process has ended. Signal 0 only asks. */
export function pidfdSendSignal(pidfd: number, signal: number): boolean {
  if (cPidfdSendSignal(SYS.pidfd_send_signal, pidfd, signal, null, 0) === 0) return true;
  if (lastErrno() === ERRNO.ESRCH) return false;
  fail("pidfd_send_signal", [pidfd, signal]);
}

/** A copy of descriptor `target` of that process (close-on-exec). */
export function pidfdGetfd(pidfd: number, target: number): number {
  const fd = cPidfdGetfd(SYS.pidfd_getfd, pidfd, target, 0);
  if (fd < 0) fail("pidfd_getfd", [pidfd, target]);
  return fd;
}

/** Sends a signal to one process; false if there is none. Refuses 0, -1 and groups: those are never meant. */
export function kill(pid: number, signal: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new RangeError(`kill: not a process id: ${pid}`);
  if (cKill(pid, signal) === 0) return true;
  if (lastErrno() === ERRNO.ESRCH) return false;
  fail("kill", [pid, signal]);
}
