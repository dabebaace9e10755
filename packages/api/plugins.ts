/**
 * Plugins: Berth has none yet, and says so in the answers `docker inspect` and `docker plugin ls` ask for on
 * their way.
 */
import { BerthError } from "#errors/errors.ts";
import { sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";

export const pluginHandlers: Handlers = {
  PluginList(context) {
    context.filters();
    sendJson(context.response, 200, []);
  },

  PluginInspect(context) {
    throw new BerthError("not-found", `plugin ${JSON.stringify(nameOf(context))} not found`, {
      operation: "inspect plugin",
      object: nameOf(context),
    });
  },
};
