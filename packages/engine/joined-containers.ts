/** Which other containers' namespaces a container shares: it can run only while they do. */
import type { Container } from "#engine/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";

/** Those there are; what is named and is not there shows at the start. */
export function joinedContainers(context: EngineContext, { record }: Container): Container[] {
  const { NetworkMode, IpcMode, PidMode } = record.hostConfig;
  return [NetworkMode, IpcMode, PidMode].flatMap((mode) => {
    const other = mode?.startsWith("container:")
      ? context.containers.find(mode.slice("container:".length))
      : undefined;
    return other === undefined ? [] : [other];
  });
}
