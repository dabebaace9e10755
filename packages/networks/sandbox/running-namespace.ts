/**
 * Changing the network namespace of a container that runs already: the host's messages from here, those inside from a
 * thread that enters it.
 */
import { BerthError } from "#errors/errors.ts";
import { errnoName } from "#kernel/errno.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { endThread, startThread } from "#kernel/threads.ts";
import type { NamespaceAnswer, NamespaceTask } from "#networks/sandbox/namespace-messages.ts";
import type { NetlinkRequest, SandboxProgram } from "#runtime/launch-types.ts";

/** Milliseconds a thread may take; only a hanging kernel gets there, however busy the machine. */
const deadline = 60_000;

/** Runs a sandbox's program, or part of one, for the container whose first process is `pid`. */
export async function changeNamespace(pid: number, program: SandboxProgram): Promise<void> {
  sendFromHost(pid, program.host);
  const { sysctls, container } = program;
  if (container.length === 0 && Object.keys(sysctls).length === 0) return;
  await inNamespace({
    path: `/proc/${pid}/ns/net`,
    sysctls,
    requests: container.map(({ why, bytes, ignore }) => ({
      why,
      bytes,
      ...(ignore !== undefined && { ignore }),
    })),
  });
}

function sendFromHost(pid: number, requests: readonly NetlinkRequest[]): void {
  if (requests.length === 0) return;
  using netlink = new NetlinkSocket();
  for (const { why, bytes, pidAt, ignore } of requests) {
    const message = Buffer.from(bytes);
    for (const at of pidAt) message.writeUInt32LE(pid, at);
    const errno = netlink.tryRequest(message);
    if (errno !== 0 && errno !== ignore) throw refused(`${why}: errno ${errno}`, errnoName(errno));
  }
}

async function inNamespace(task: NamespaceTask): Promise<void> {
  const thread = startThread(new URL("./namespace-worker.ts", import.meta.url), { workerData: task });
  const timer = setTimeout(() => void endThread(thread), deadline);
  try {
    const { failed, code } = await new Promise<NamespaceAnswer>((resolve, reject) => {
      thread.once("message", resolve);
      thread.once("error", reject);
      thread.once("exit", () => reject(refused("the thread ended without an answer")));
    });
    if (failed !== undefined) throw refused(failed, code);
  } finally {
    clearTimeout(timer);
  }
}

/** `code`: the kernel's name for it, which tells a shortage from what stays as it is. */
function refused(why: string, code?: string): BerthError {
  return new BerthError("internal", `failed to change the container's network: ${why}`, {
    operation: "change network namespace",
    cause: Object.assign(new Error(why), { code }),
  });
}
