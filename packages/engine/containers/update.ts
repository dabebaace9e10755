/** `docker update`: other limits and another restart policy, for a container that runs as well as for one that doesn't. */
import type { HostConfig } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { containerResources } from "#engine/launch/container-resources.ts";
import { readDeviceNumbers } from "#engine/launch/host-devices.ts";
import { checkUpdate } from "#engine/requests/validate-host-config.ts";
import { checkRealtime } from "#engine/system/kernel-support.ts";
import { BerthError } from "#errors/errors.ts";
import { updateCgroups } from "#runtime/cgroups/apply-update.ts";

/** What may be changed; everything else in the request is passed over, as dockerd does. */
const CHANGEABLE = [
  ...(["BlkioWeight", "CpuShares", "NanoCpus", "CpuPeriod", "CpuQuota"] as const),
  ...(["CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems"] as const),
  ...(["Memory", "MemorySwap", "MemoryReservation", "PidsLimit"] as const),
];

/** Call inside the container's queue. Answers the warnings. What cannot be set leaves everything as it was. */
export async function updateContainer(
  context: EngineContext,
  container: Container,
  given: HostConfig,
): Promise<string[]> {
  const { record } = container;
  const { change, warnings } = checkUpdate(given, context.limits);
  checkRealtime(change, context.limits);
  const before = record.hostConfig;
  try {
    const after = changed(before, change);
    if (record.state.Running && !record.state.Restarting) await apply(context, container, after, change);
    record.hostConfig = after;
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    throw new BerthError(error.code, `Cannot update container ${record.id}: ${error.message}`, {
      operation: "update container",
      object: record.name,
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
  context.containers.save(container);
  publishContainerEvent(context, container, "update");
  return warnings;
}

/** The configuration with what the change says. Pure; throws "conflict" for what doesn't go with what is set. */
export function changed(before: HostConfig, change: HostConfig): HostConfig {
  refuseConflicts(before, change);
  const after: HostConfig = { ...before };
  for (const name of CHANGEABLE) {
    // 0 and nothing leave it as it is, but for the processes, where 0 is "as many as you like".
    const says = name === "PidsLimit" ? change[name] != null : Boolean(change[name]);
    if (says) Object.assign(after, { [name]: change[name] });
  }
  if (change.RestartPolicy?.Name) after.RestartPolicy = change.RestartPolicy;
  return after;
}

function refuseConflicts(before: HostConfig, change: HostConfig): void {
  const refuse = (message: string) => new BerthError("conflict", message, { operation: "update container" });
  const set = (config: HostConfig, name: "NanoCpus" | "CpuPeriod" | "CpuQuota") => (config[name] ?? 0) > 0;
  if (set(change, "NanoCpus") && set(before, "CpuPeriod")) {
    throw refuse("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set");
  }
  if (set(change, "NanoCpus") && set(before, "CpuQuota")) {
    throw refuse("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
  }
  if (set(change, "CpuPeriod") && set(before, "NanoCpus")) {
    throw refuse("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
  }
  if (set(change, "CpuQuota") && set(before, "NanoCpus")) {
    throw refuse("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
  }
  const memory = change.Memory ?? 0;
  const swap = before.MemorySwap ?? 0;
  if (memory > 0 && !change.MemorySwap && swap !== -1 && memory > swap) {
    throw refuse(
      "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
    );
  }
  if (change.RestartPolicy?.Name && change.RestartPolicy.Name !== "no" && before.AutoRemove) {
    throw refuse("Restart policy cannot be updated because AutoRemove is enabled for the container");
  }
}

async function apply(
  context: EngineContext,
  container: Container,
  after: HostConfig,
  given: HostConfig,
): Promise<void> {
  const { record } = container;
  const only = Object.fromEntries(CHANGEABLE.map((name) => [name, given[name]])) as HostConfig;
  const change = containerResources(only, readDeviceNumbers);
  if (given.PidsLimit === 0) change.pids = { limit: -1 };
  // Swap comes with the memory it is counted with.
  if (change.memory?.limit && !change.memory.swap && after.MemorySwap) change.memory.swap = after.MemorySwap;
  await updateCgroups(context.cgroups, record, {
    current: containerResources(record.hostConfig, readDeviceNumbers),
    change,
  });
}
