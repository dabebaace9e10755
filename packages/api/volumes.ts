/** Volume operations. */
import type { VolumeCreateRequest } from "#api-types/system.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";
import { map, object, text } from "./shape.ts";

const createShape = object<VolumeCreateRequest>({
  Name: text,
  Driver: text,
  DriverOpts: map(text),
  Labels: map(text),
});

export const volumeHandlers: Handlers = {
  async VolumeList(context) {
    sendJson(context.response, 200, await context.engine.volumes.list(context.filters()));
  },

  async VolumeCreate(context) {
    const request = await context.json(createShape, { optional: true });
    sendJson(context.response, 201, await context.engine.volumes.create(request));
  },

  async VolumeInspect(context) {
    sendJson(context.response, 200, await context.engine.volumes.inspect(nameOf(context)));
  },

  async VolumeDelete(context) {
    await context.engine.volumes.remove(nameOf(context), context.query.flag("force"));
    sendEmpty(context.response, 204);
  },
};
