/** `update`: other limits for a container, now and for the next update to go out from. */
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { statusOf } from "#oci/container-status.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { updateCgroups } from "#runtime/cgroups/apply-update.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

/** Throws "conflict" for a container that has stopped, or for what the kernel refuses; nothing is changed then. */
export async function updateContainer(
  states: StateDirectory,
  container: StoredContainer,
  change: SpecResources,
): Promise<void> {
  if (statusOf(states, container) === "stopped") {
    throw new BerthError("conflict", "container not running", {
      operation: "update container",
      object: container.id,
    });
  }
  const resources = await updateCgroups(readCgroupLayout(), container.cgroupOwner, {
    current: container.resources,
    change,
  });
  states.save({ ...container, resources });
}
