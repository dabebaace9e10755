/** Exec operations, but for the start, which takes its connection over (takeover-handlers.ts). */
import { BerthError } from "#errors/errors.ts";
import { execCreateShape } from "./container-shapes.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";
import { atLeast } from "./versions.ts";

export const execHandlers: Handlers = {
  async ContainerExec(context) {
    const request = await context.json(execCreateShape, { optional: true });
    if ((request.Cmd ?? []).length === 0) {
      throw new BerthError("invalid", "No exec command specified", {
        operation: "create exec",
        object: nameOf(context),
      });
    }
    if (!atLeast(context.version, "1.42")) delete request.ConsoleSize;
    sendJson(context.response, 201, await context.engine.execs.create(nameOf(context), request));
  },

  async ExecResize(context) {
    const { query } = context;
    await context.engine.execs.resize(nameOf(context), query.count("h"), query.count("w"));
    sendEmpty(context.response, 200);
  },

  ExecInspect(context) {
    sendJson(context.response, 200, context.engine.execs.inspect(nameOf(context)));
  },
};
