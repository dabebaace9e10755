/**
 * Plugins as `docker plugin` has them, installed by the daemon: there are none, as the answers say that `docker inspect` and
 * `docker plugin ls` ask for. Plugins that run by themselves are another matter (packages/plugins).
 */
import { BerthError } from "#errors/errors.ts";
import { sendJson } from "./reply.ts";
import { type Handler, type Handlers, nameOf } from "./request-context.ts";

const noSuchPlugin: Handler = (context) => {
  throw new BerthError("not-found", `plugin ${JSON.stringify(nameOf(context))} not found`, {
    operation: context.operation,
    object: nameOf(context),
  });
};

const filterNames = new Set(["capability", "enabled"]);

export const pluginHandlers: Handlers = {
  PluginList(context) {
    const unknown = Object.keys(context.filters()).find((name) => !filterNames.has(name));
    if (unknown !== undefined) {
      throw new BerthError("invalid", `invalid filter '${unknown}'`, { operation: context.operation });
    }
    sendJson(context.response, 200, []);
  },

  PluginInspect: noSuchPlugin,
  PluginDelete: noSuchPlugin,
  PluginEnable: noSuchPlugin,
  PluginDisable: noSuchPlugin,
  PluginPush: noSuchPlugin,
  PluginSet: noSuchPlugin,
  PluginUpgrade: noSuchPlugin,
};
