/** Volume operations. */
import type { VolumeCreateRequest } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";
import { anything, map, object, text } from "./shape.ts";
import { refuseWithoutSwarm } from "./swarm.ts";
import { atLeast } from "./versions.ts";

interface CreateRequest extends VolumeCreateRequest {
  /** Only a swarm has volumes of the cluster. */
  ClusterVolumeSpec?: unknown;
}

const createShape = object<CreateRequest>({
  Name: text,
  Driver: text,
  DriverOpts: map(text),
  Labels: map(text),
  ClusterVolumeSpec: anything,
});

export const volumeHandlers: Handlers = {
  async VolumeList(context) {
    sendJson(context.response, 200, await context.engine.volumes.list(context.filters()));
  },

  async VolumeCreate(context) {
    const { ClusterVolumeSpec: cluster, ...request } = await context.json(createShape, { optional: true });
    if (cluster != null && atLeast(context.version, "1.42")) refuseWithoutSwarm(context.operation);
    sendJson(context.response, 201, await context.engine.volumes.create(request));
  },

  async VolumeInspect(context) {
    sendJson(context.response, 200, await context.engine.volumes.inspect(nameOf(context)));
  },

  /** There is nothing to change but volumes of a cluster. */
  VolumeUpdate({ operation }) {
    const text = "volume update only valid for cluster volumes, but swarm is unavailable";
    throw new BerthError("unavailable", text, { operation });
  },

  async VolumeDelete(context) {
    await context.engine.volumes.remove(nameOf(context), context.query.flag("force"));
    sendEmpty(context.response, 204);
  },
};
