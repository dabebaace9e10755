/**
 * Namespaces of another container: whose they are, and whether he shares them. A container with a private IPC namespace
 * shares neither that nor its /dev/shm. Texts are Docker's.
 */
import type { HostConfig } from "#api-types/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { checkSharing } from "#engine/launch/user-namespace.ts";
import { BerthError } from "#errors/errors.ts";

export type SharedKind = "pid" | "ipc" | "uts" | "network";

/** Host pid of a running container whose namespace `own` is to be in. Throws "conflict" or "invalid" where that cannot be. */
export function joinedPid(
  context: Pick<EngineContext, "containers" | "idMap">,
  own: HostConfig,
  nameOrId: string,
  kind: SharedKind,
): number {
  const { id, record } = context.containers.get(nameOrId);
  checkSharing(context.idMap, own, record.hostConfig);
  const about = kind === "ipc" ? `can't join IPC of container ${id}: ` : "";
  const refuse = (code: "conflict" | "invalid", message: string, hint: string) =>
    new BerthError(code, `${about}${message}`, { operation: "start container", object: nameOrId, hint });
  if (!record.state.Running) {
    throw refuse("conflict", `container ${id} is not running`, `start ${nameOrId} first`);
  }
  if (record.state.Restarting) {
    const message = `Container ${id} is restarting, wait until the container is running`;
    throw refuse("conflict", message, `see why ${nameOrId} ends`);
  }
  const mode = record.hostConfig.IpcMode ?? "";
  if (kind === "ipc" && !["shareable", "host"].includes(mode) && !mode.startsWith("container:")) {
    const message = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
    throw refuse("invalid", message, `give ${nameOrId} --ipc shareable`);
  }
  return record.state.Pid;
}
