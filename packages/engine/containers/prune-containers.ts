/** `docker container prune`: removes what does not run, and tells how much space that gave back. */
import { containerFilter } from "#engine/containers/container-filters.ts";
import { containerSizes } from "#engine/containers/container-sizes.ts";
import { removeContainer } from "#engine/containers/remove.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { Filters } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";

const KNOWN = ["label", "label!", "until"];

/** Throws "invalid" for a filter that prune does not know. */
export async function pruneContainers(
  context: EngineContext,
  filters: Filters,
): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
  checkPruneFilters(filters, KNOWN, "prune containers");
  const passes = containerFilter(filters, context.containers);
  const deleted: string[] = [];
  let reclaimed = 0;
  const purges: Promise<void>[] = [];
  for (const container of context.containers.all()) {
    // One that is being made is no leftover.
    const making = container.record.phase === "creating";
    if (container.isRunning || making || !passes(container)) continue;
    await container.queue.run(async () => {
      if (container.isRunning || container.record.phase !== "present") return;
      const { SizeRw } = await containerSizes(context, container);
      const { purged } = await removeContainer(context, container, { force: false, volumes: false });
      purges.push(purged);
      deleted.push(container.id);
      reclaimed += SizeRw;
    });
  }
  // Who prunes wants the space, and may go on with images and volumes.
  await Promise.all(purges);
  context.events.publish("container", "prune", "", { reclaimed: String(reclaimed) });
  return { ContainersDeleted: deleted.length > 0 ? deleted : null, SpaceReclaimed: reclaimed };
}

/** Throws "invalid" with Docker's texts for filters that are not among `known`, and for a second `until`. */
export function checkPruneFilters(filters: Filters, known: readonly string[], operation: string): void {
  const unknown = Object.keys(filters).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new BerthError("invalid", `invalid filter '${unknown}'`, { operation });
  if ((filters.until ?? []).length > 1) {
    throw new BerthError("invalid", "more than one until filter specified", { operation });
  }
}
