/** Checkpoints: experimental, served by a daemon that was started so. */
import type { CheckpointRequest } from "#engine/containers/checkpoints.ts";
import { BerthError } from "#errors/errors.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { boolean, object, text } from "./shape.ts";

const checkpointShape = object<CheckpointRequest>({
  CheckpointID: text,
  CheckpointDir: text,
  Exit: boolean,
});

export const checkpointHandlers: Handlers = {
  async CheckpointList(context) {
    mustBeExperimental(context);
    const directory = context.query.text("dir");
    sendJson(
      context.response,
      200,
      await context.engine.containers.listCheckpoints(nameOf(context), directory),
    );
  },

  async CheckpointCreate(context) {
    mustBeExperimental(context);
    const request = { ...(await context.json(checkpointShape)) };
    request.CheckpointID ??= "";
    await context.engine.containers.createCheckpoint(nameOf(context), request);
    sendEmpty(context.response, 201);
  },

  async CheckpointDelete(context) {
    mustBeExperimental(context);
    const which = { name: context.parameters.checkpoint ?? "", directory: context.query.text("dir") };
    await context.engine.containers.removeCheckpoint(context.parameters.id ?? "", which);
    sendEmpty(context.response, 204);
  },
};

function mustBeExperimental({ experimental, operation }: RequestContext): void {
  if (experimental) return;
  throw new BerthError(
    "not-implemented",
    "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.",
    { operation },
  );
}
