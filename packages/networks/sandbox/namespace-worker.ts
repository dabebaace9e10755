/**
 * Runs inside a worker thread: enters a network namespace, sets it up, and ends.
 *
 * A thread may join another network namespace where a whole process could not without consequences: what it opens there
 * is there, everything else of the daemon stays where it is. The thread is used once.
 */
import { writeFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { errnoName } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";
import { inNetwork } from "#kernel/thread-network.ts";
import type { NamespaceAnswer, NamespaceTask } from "#networks/sandbox/namespace-messages.ts";

function work(task: NamespaceTask): NamespaceAnswer {
  using namespace = new FileDescriptor(open(task.path, O_RDONLY));
  return inNetwork(namespace.number, () => change(task));
}

function change(task: NamespaceTask): NamespaceAnswer {
  for (const [name, value] of Object.entries(task.sysctls)) {
    try {
      writeFileSync(`/proc/sys/${name}`, value);
    } catch (error) {
      return { failed: `set sysctl ${name} to ${value}: ${String(error)}`, code: codeOf(error) };
    }
  }
  using netlink = new NetlinkSocket();
  for (const { why, bytes, ignore } of task.requests) {
    const errno = netlink.tryRequest(bytes);
    if (errno !== 0 && errno !== ignore) return { failed: `${why}: errno ${errno}`, code: errnoName(errno) };
  }
  return { failed: undefined };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

function answer(): NamespaceAnswer {
  try {
    return work(workerData as NamespaceTask);
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error), code: codeOf(error) };
  }
}

parentPort?.postMessage(answer());
