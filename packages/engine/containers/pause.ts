/** Freezing and thawing all processes of a container. */

import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { updateHealthMonitor } from "#engine/health/health-monitor.ts";
import { BerthError } from "#errors/errors.ts";
import { freeze, isToBeFrozen, thaw } from "#runtime/cgroups/freezer.ts";

export async function freezeContainer(
  context: EngineContext,
  container: Container,
  frozen: boolean,
): Promise<void> {
  const { record } = container;
  const operation = frozen ? "pause container" : "unpause container";
  const refuse = (message: string) => new BerthError("conflict", message, { operation, object: record.name });
  if (frozen && !record.state.Running) throw refuse(`Container ${record.id} is not running`);
  if (frozen && record.state.Restarting) {
    throw refuse(`Container ${record.id} is restarting, wait until the container is running`);
  }
  if (frozen === record.state.Paused) {
    throw refuse(
      frozen ? `Container ${record.id} is already paused` : `Container ${record.id} is not paused`,
    );
  }
  await setFrozen(context, container, frozen);
}

/**
 * Does it, and tells. `passing`: for a piece of work only, and not stored: should the daemon go meanwhile, the next one lets the
 * container go on.
 */
export async function setFrozen(
  context: EngineContext,
  container: Container,
  frozen: boolean,
  { passing = false } = {},
): Promise<void> {
  const { record } = container;
  try {
    await (frozen ? freeze : thaw)(context.cgroups, record);
  } catch (error) {
    // With the processes their groups may have gone.
    if (container.live !== undefined) throw error;
  }
  // Killed meanwhile, or just before: on version 1 what is frozen never takes its SIGKILL.
  if (frozen && container.killed) return setFrozen(context, container, false);
  // It may have ended meanwhile, and wait for its restart.
  if (container.live === undefined || record.state.Paused === frozen) return;
  container.setStatus(frozen ? "paused" : "running");
  updateHealthMonitor(context, container);
  if (!passing) context.containers.save(container);
  publishContainerEvent(context, container, frozen ? "pause" : "unpause");
}

/** When a running container is found again: half a pause is undone, half an unpause is finished. */
export async function agreeOnFrozen(context: EngineContext, container: Container): Promise<void> {
  const { record } = container;
  const frozen = isToBeFrozen(context.cgroups, record);
  if (frozen === record.state.Paused) return;
  if (frozen) await thaw(context.cgroups, record);
  else container.setStatus("running");
}
