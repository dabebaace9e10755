/**
 * What lies behind a container's mounts on the host, for a run: bind sources that are made or checked, volumes and images that
 * are mounted. Given back by releaseMounts.
 */
import { join } from "node:path";
import type { ContainerMount, ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { makeForContainers } from "#engine/launch/user-namespace.ts";
import { mountVolume, unmountVolumes } from "#engine/mounts/container-volumes.ts";
import { mountImage, unmountImages } from "#engine/mounts/image-mounts.ts";
import { BerthError } from "#errors/errors.ts";
import { errnoText } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { mountOf, readMountInfo } from "#kernel/mountinfo.ts";
import {
  O_DIRECTORY,
  O_PATH,
  open,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  tryOpenat2,
} from "#kernel/syscalls.ts";

/** Host path behind each mount, by destination; missing bind sources of -v are made, as Docker does. */
export async function mountSources(
  context: EngineContext,
  record: ContainerRecord,
): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for (const mount of record.mounts) {
    const { type, destination } = mount;
    if (type === "bind") sources.set(destination, await bindSource(context, mount));
    else if (type !== "tmpfs") {
      const source =
        type === "volume"
          ? await mountVolume(context, record, mount)
          : await mountImage(context, record, mount);
      checkSubpath(source, mount.subpath);
      sources.set(destination, source);
    }
  }
  return sources;
}

export async function releaseMounts(context: EngineContext, record: ContainerRecord): Promise<void> {
  await unmountVolumes(context, record);
  await unmountImages(context, record);
}

/** Only tells in time what the start would run into; the path is resolved once more, inside the volume, when it is mounted. */
function checkSubpath(source: string, subpath: string): void {
  if (subpath === "") return;
  using base = new FileDescriptor(open(source, O_PATH | O_DIRECTORY));
  const fd = tryOpenat2(base.number, subpath, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd >= 0) {
    new FileDescriptor(fd).close();
    return;
  }
  const path = join(source, subpath);
  throw new BerthError("not-found", `cannot access path ${path}: ${errnoText(-fd)}`, {
    operation: "start container",
    object: path,
  });
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
