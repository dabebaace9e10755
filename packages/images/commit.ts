/**
 * docker commit: an image of a container's own layer on top of the image the container was made from.
 *
 * The base's layers are held from the beginning, so that nothing takes them while the layer is made; the image is written,
 * durably, only when the layer is on the disk. A failure leaves nothing.
 */

import type { ImageContainerConfig } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { type Digest, digestOf } from "./digest.ts";
import type { ConfigHistory, ImageConfig } from "./image-config.ts";
import type { ImageName } from "./image-names.ts";
import type { ImageStore } from "./image-store.ts";
import type { CommitRequest } from "./image-types.ts";
import type { LayerStore } from "./layer-store.ts";

/** Diff id of an archive without entries: two blocks of zeros. Docker makes no layer of it. */
const emptyLayer: Digest = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/** Answers the image's id. Throws "not-found" if the base is gone. */
export async function commitImage(
  request: CommitRequest,
  names: readonly ImageName[],
  { images, layers }: { images: ImageStore; layers: LayerStore },
): Promise<Digest> {
  const base = images.get(request.base);
  if (base === undefined) {
    throw new BerthError("not-found", `No such image: ${request.base}`, {
      operation: "commit container",
      object: request.container.id,
    });
  }
  const diffIds = base.document.rootfs.diff_ids;
  await using below = layers.hold(diffIds);
  await using made = await layers.makeOn(below, diffIds, request.fill, emptyLayer);
  const grown = made.chain.length > diffIds.length;
  const bytes = Buffer.from(
    JSON.stringify(document(base.document, request, grown ? [...diffIds, made.diffId] : diffIds, !grown)),
  );
  const id = digestOf(bytes);
  images.commit(
    { id, config: bytes, chain: made.chain, size: made.size(), parent: base.id, tagged: true },
    names,
  );
  return id;
}

function document(base: ImageConfig, request: CommitRequest, diffIds: readonly Digest[], empty: boolean) {
  const { author, comment, container, config } = request;
  const created = new Date().toISOString();
  const step: ConfigHistory = {
    created,
    ...(author === "" ? {} : { author }),
    created_by: (container.config.Cmd ?? []).join(" "),
    ...(comment === "" ? {} : { comment }),
    ...(empty ? { empty_layer: true } : {}),
  };
  return {
    architecture: base.architecture,
    ...(base.variant ? { variant: base.variant } : {}),
    os: base.os,
    ...(base["os.version"] ? { "os.version": base["os.version"] } : {}),
    ...(author === "" ? {} : { author }),
    config,
    container: container.id,
    container_config: container.config satisfies ImageContainerConfig,
    created,
    docker_version: request.version,
    history: [...base.history, step],
    rootfs: { type: "layers", diff_ids: diffIds },
  };
}
