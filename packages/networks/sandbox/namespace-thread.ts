/**
 * Runs inside a worker thread: enters a network namespace, sets it up, and ends.
 *
 * A thread may join another network namespace where a whole process could not without consequences: what it opens there
 * is there, everything else of the daemon stays where it is. The thread never comes back; it is used once.
 */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { libcFunction } from "#kernel/libc.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import type { NamespaceAnswer, NamespaceTask } from "#networks/sandbox/namespace-messages.ts";

/** linux/sched.h */
const CLONE_NEWNET = 0x40000000;

const setns = libcFunction("int setns(int fd, int kind)");

function enter(path: string): void {
  const fd = openSync(path, "r");
  try {
    if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`cannot enter ${path}`);
  } finally {
    closeSync(fd);
  }
}

function work(task: NamespaceTask): string | undefined {
  enter(task.path);
  for (const [name, value] of Object.entries(task.sysctls)) {
    try {
      writeFileSync(`/proc/sys/${name}`, value);
    } catch (error) {
      return `set sysctl ${name} to ${value}: ${String(error)}`;
    }
  }
  using netlink = new NetlinkSocket();
  for (const { why, bytes, ignore } of task.requests) {
    const errno = netlink.tryRequest(bytes);
    if (errno !== 0 && errno !== ignore) return `${why}: errno ${errno}`;
  }
  return undefined;
}

function answer(): NamespaceAnswer {
  try {
    return { failed: work(workerData as NamespaceTask) };
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.postMessage(answer());
