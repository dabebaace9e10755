/**
 * What lies behind a container's mounts on the host, for a run: bind sources that are made or checked, volumes and images that
 * are mounted. Given back by releaseMounts.
 */
import type { ContainerMount, ContainerRecord } from "#engine/container-record.ts";
import { mountVolume, unmountVolumes } from "#engine/container-volumes.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { mountImage, unmountImages } from "#engine/image-mounts.ts";
import { makeForContainers } from "#engine/user-namespace.ts";
import { BerthError } from "#errors/errors.ts";
import { mountOf, readMountInfo } from "#kernel/mountinfo.ts";

/** Host path behind each mount, by destination; missing bind sources of -v are made, as Docker does. */
export async function mountSources(
  context: EngineContext,
  record: ContainerRecord,
): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for (const mount of record.mounts) {
    const { type, destination } = mount;
    if (type === "bind") sources.set(destination, await bindSource(context, mount));
    else if (type === "volume") sources.set(destination, await mountVolume(context, record, mount));
    else if (type === "image") sources.set(destination, await mountImage(context, record, mount));
  }
  return sources;
}

export async function releaseMounts(context: EngineContext, record: ContainerRecord): Promise<void> {
  await unmountVolumes(context, record);
  await unmountImages(context, record);
}

async function bindSource(context: EngineContext, mount: ContainerMount): Promise<string> {
  if (mount.createSource) {
    await makeForContainers(context, mount.source).catch((cause: NodeJS.ErrnoException) => {
      // It is there, as something else than a directory.
      if (cause.code === "EEXIST" || cause.code === "ENOTDIR") return;
      throw failed(
        `error while creating mount source path '${mount.source}': ${cause.message}`,
        mount.source,
        cause,
      );
    });
  }
  checkPropagation(mount);
  return mount.source;
}

/** A mount can take part only in what its source takes part in. Throws "internal" with Docker's texts. */
function checkPropagation(mount: ContainerMount): void {
  const kind = mount.propagation.replace(/^r/, "");
  if (mount.propagationByDefault || (kind !== "shared" && kind !== "slave")) return;
  const found = mountOf(mount.source, readMountInfo());
  if (found === undefined) return;
  const has = (what: string) => found.optional.some((field) => field.startsWith(`${what}:`));
  const where = `path ${mount.source} is mounted on ${found.mountPoint} but it is not a shared`;
  if (kind === "shared" && !has("shared")) throw failed(`${where} mount`, mount.source);
  if (kind === "slave" && !has("shared") && !has("master"))
    throw failed(`${where} or slave mount`, mount.source);
}

function failed(message: string, source: string, cause?: unknown): BerthError {
  return new BerthError("internal", message, {
    operation: "start container",
    object: source,
    ...(cause === undefined ? {} : { cause }),
  });
}
