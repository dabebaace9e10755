/** Worker thread of one mount: a server that does not answer keeps nobody waiting but who wants its volume. */
import { parentPort, workerData } from "node:worker_threads";
import { SyscallError } from "#kernel/syscall-error.ts";
import { type MountTask, performMount } from "#volumes/perform-mount.ts";

try {
  performMount(workerData as MountTask);
  parentPort?.postMessage({ errno: 0 });
} catch (error) {
  if (!(error instanceof SyscallError)) throw error;
  parentPort?.postMessage({ call: error.call, errno: error.errno });
}
