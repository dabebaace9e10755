/** Which other containers a container shares namespaces with or is linked to: it can start only while they run. */
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";

/** Those there are; what is named and is not there shows at the start. */
export function joinedContainers(context: EngineContext, { record }: Container): Container[] {
  const { NetworkMode, IpcMode, PidMode } = record.hostConfig;
  const shared = [NetworkMode, IpcMode, PidMode].flatMap((mode) =>
    mode?.startsWith("container:") ? [mode.slice("container:".length)] : [],
  );
  const linked = (record.links ?? []).map(({ containerId }) => containerId);
  return [...shared, ...linked].flatMap((nameOrId) => context.containers.find(nameOrId) ?? []);
}
