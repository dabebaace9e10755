/** Every handler, by operation id. What isn't here is answered 501. */
import { berthHandlers } from "./berth.ts";
import { checkpointHandlers } from "./checkpoints.ts";
import { containerFileHandlers } from "./container-files.ts";
import { containerStreamHandlers } from "./container-streams.ts";
import { containerHandlers } from "./containers.ts";
import { eventHandlers } from "./events.ts";
import { execHandlers } from "./exec.ts";
import { imageArchiveHandlers } from "./image-archives.ts";
import { imageHandlers } from "./images.ts";
import { networkHandlers } from "./networks.ts";
import { pluginHandlers } from "./plugins.ts";
import { pruneHandlers } from "./prune.ts";
import { registryHandlers } from "./registries.ts";
import type { Handlers } from "./request-context.ts";
import { swarmHandlers } from "./swarm.ts";
import { systemHandlers } from "./system.ts";
import { takeoverHandlers } from "./takeover-handlers.ts";
import { volumeHandlers } from "./volumes.ts";

export const handlers: Handlers = {
  ...berthHandlers,
  ...checkpointHandlers,
  ...containerHandlers,
  ...containerFileHandlers,
  ...containerStreamHandlers,
  ...eventHandlers,
  ...execHandlers,
  ...imageArchiveHandlers,
  ...imageHandlers,
  ...networkHandlers,
  ...pluginHandlers,
  ...pruneHandlers,
  ...registryHandlers,
  ...swarmHandlers,
  ...systemHandlers,
  ...takeoverHandlers,
  ...volumeHandlers,
};
