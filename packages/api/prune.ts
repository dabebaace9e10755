/** Removing what nobody uses: containers, images, volumes, networks and the build cache. */
import { sendJson } from "./reply.ts";
import type { Handlers } from "./request-context.ts";
import { atLeast } from "./versions.ts";

export const pruneHandlers: Handlers = {
  async ContainerPrune(context) {
    sendJson(context.response, 200, await context.engine.containers.prune(context.filters()));
  },

  async ImagePrune(context) {
    const { engine, response } = context;
    const report = await engine.images.prune(context.filters(), (id) => engine.containers.imageUsers(id));
    sendJson(response, 200, report);
  },

  async VolumePrune(context) {
    const filters = context.filters();
    // Before 1.42 named volumes were pruned too.
    if (!atLeast(context.version, "1.42")) filters.all = ["true"];
    sendJson(context.response, 200, await context.engine.volumes.prune(filters));
  },

  async NetworkPrune(context) {
    sendJson(context.response, 200, await context.engine.networks.prune(context.filters()));
  },

  async BuildPrune(context) {
    sendJson(context.response, 200, await context.engine.system.pruneBuildCache(context.filters()));
  },
};
