/** docker commit: what a container changed becomes a layer, its configuration an image. */
import type { ContainerConfig } from "#api-types/container.ts";
import type { ImageContainerConfig } from "#api-types/image.ts";
import type { Container } from "#engine/containers/container.ts";
import { setFrozen } from "#engine/containers/pause.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import type { CommitOptions } from "#engine/files/file-service-types.ts";
import { mergeConfig } from "#engine/requests/merge-config.ts";
import { BERTH_VERSION } from "#engine/system/system-service.ts";
import { applyChanges } from "#images/dockerfile-changes.ts";
import { holdLayers } from "#storage/hold-layers.ts";

/** Call in the container's queue. Its processes are frozen for as long as it takes, if asked. */
export async function commitContainer(
  context: EngineContext,
  container: Container,
  options: CommitOptions,
): Promise<string> {
  const { record } = container;
  const { repository, tag, author, comment } = options;
  const config = imageConfig(record.config, options);
  await using _held = await holdLayers(context.storage, "comparison", record.id);
  const comparison = await context.storage.comparison(record.id);
  const freeze = options.pause && record.state.Running && !record.state.Paused && !record.state.Restarting;
  if (freeze) await setFrozen(context, container, true, { passing: true });
  let image: { id: string; reference: string };
  try {
    image = await context.images.commit({
      base: record.imageId,
      container: { id: record.id, config: record.config },
      config,
      author,
      comment,
      version: BERTH_VERSION,
      repository,
      tag,
      fill: (target) => context.files.commit(comparison, target),
    });
  } finally {
    if (freeze) await setFrozen(context, container, false, { passing: true });
  }
  const { id, reference } = image;
  publishContainerEvent(context, container, "commit", { comment, imageID: id, imageRef: reference });
  return id;
}

/** The given configuration or the container's, changed as asked; what that leaves open is the container's. */
function imageConfig(own: ContainerConfig, { config, changes }: CommitOptions): ImageContainerConfig {
  const merged = mergeConfig(applyChanges(config ?? own, changes), own);
  for (const field of ["ExposedPorts", "Volumes"] as const) {
    if (Object.keys(merged[field] ?? {}).length === 0) delete merged[field];
  }
  // Docker says of a committed image without labels that it has none, of others nothing.
  return { ...merged, Labels: merged.Labels ?? {} };
}
