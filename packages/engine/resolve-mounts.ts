/**
 * Which mounts a container gets, from -v, --mount, --tmpfs, --volumes-from and the image's VOLUMEs; and the volumes
 * behind them.
 *
 * One destination has one mount. Later kinds win over earlier ones in this order: the image's volumes, those of other
 * containers, binds, mounts. tmpfs stands for itself and may not collide.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { posix } from "node:path";
import type { ContainerConfig, HostConfig } from "#api-types/container.ts";
import { present } from "#engine/check-modes.ts";
import type { ContainerMount, ContainerRecord } from "#engine/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";
import { type MountPlan, parseBind, planMount } from "#volumes/mount-spec.ts";

/** Label dockerd puts on volumes nobody named. */
const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

/** Names anonymous volumes; makes nothing. Throws "invalid" with Docker's texts. */
export function resolveMounts(
  config: ContainerConfig,
  hostConfig: HostConfig,
  lookup: (nameOrId: string) => ContainerRecord,
): ContainerMount[] {
  const byDestination = new Map<string, ContainerMount>();
  const explicit = new Set<string>();
  const put = (mount: ContainerMount) => byDestination.set(mount.destination, mount);
  const putOnce = (mount: ContainerMount) => {
    if (explicit.has(mount.destination)) {
      throw invalid(`Duplicate mount point: ${mount.destination}`, mount.destination);
    }
    explicit.add(mount.destination);
    put(mount);
  };
  for (const path of Object.keys(config.Volumes ?? {})) put(anonymousVolume(path));
  for (const mount of (hostConfig.VolumesFrom ?? []).flatMap((from) => mountsOf(from, lookup))) put(mount);
  for (const bind of hostConfig.Binds ?? []) putOnce(fromPlan(parseBind(bind), true));
  for (const mount of hostConfig.Mounts ?? []) putOnce(fromPlan(planMount(mount, existsSync), false));
  for (const [path, options] of Object.entries(hostConfig.Tmpfs ?? {})) putOnce(tmpfs(path, options));
  return [...byDestination.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
}

/** Makes the volumes a new container refers to, and fills the empty ones with what its root has there. */
export async function makeVolumes(context: EngineContext, record: ContainerRecord): Promise<void> {
  for (const mount of record.mounts) {
    if (mount.type !== "volume") continue;
    const labels = mount.anonymous ? { [ANONYMOUS_LABEL]: "" } : {};
    const volume = await context.volumes.create({ Name: mount.volume, Labels: labels });
    context.volumes.reference(volume.Name, record.id);
    if (mount.noCopy) continue;
    if (await context.volumes.isEmpty(volume.Name)) {
      const layers = await context.storage.layerDirectories(record.id);
      await context.volumes.copyUp(volume.Name, layers, mount.destination);
    }
  }
}

const PLAIN: Omit<ContainerMount, "type" | "destination"> = {
  source: "",
  volume: "",
  readOnly: false,
  propagation: "",
  mode: "",
  noCopy: false,
  tmpfsOptions: "",
  recursive: true,
  anonymous: false,
  subpath: "",
  createSource: false,
};

function anonymousVolume(path: string): ContainerMount {
  if (!path.startsWith("/")) throw invalid(`invalid mount path: '${path}' mount path must be absolute`, path);
  return {
    ...PLAIN,
    type: "volume",
    volume: randomBytes(32).toString("hex"),
    destination: posix.normalize(path),
    anonymous: true,
  };
}

/** `bind`: from -v, whose missing source directories are made; --mount's are an error. */
function fromPlan(plan: MountPlan, bind: boolean): ContainerMount {
  const anonymous = plan.type === "volume" && plan.volumeName === "";
  return {
    ...PLAIN,
    type: plan.type,
    source: plan.source,
    volume: anonymous ? randomBytes(32).toString("hex") : plan.volumeName,
    destination: plan.destination,
    readOnly: plan.readOnly,
    propagation: plan.propagation || (plan.type === "bind" ? "rprivate" : ""),
    mode: plan.mode,
    noCopy: plan.noCopy,
    tmpfsOptions: plan.tmpfsOptions,
    recursive: plan.recursive,
    anonymous,
    subpath: plan.subpath,
    createSource: bind || plan.createSource,
  };
}

function tmpfs(path: string, options: string): ContainerMount {
  if (!path.startsWith("/")) throw invalid(`invalid mount path: '${path}' mount path must be absolute`, path);
  return {
    ...PLAIN,
    type: "tmpfs",
    destination: posix.normalize(path),
    tmpfsOptions: options,
    readOnly: options.split(",").includes("ro"),
    mode: FROM_TMPFS_FLAG,
  };
}

/** `--tmpfs` mounts are listed in HostConfig.Tmpfs only, not under Mounts. */
export const FROM_TMPFS_FLAG = "tmpfs-flag";

/** "name[:ro|rw]" → that container's mounts. */
function mountsOf(from: string, lookup: (nameOrId: string) => ContainerRecord): ContainerMount[] {
  const [name = "", mode = ""] = from.split(":");
  if (name === "" || !["", "ro", "rw", "z", "Z"].includes(mode)) {
    throw invalid(`invalid volumes-from specification: ${from}`, from);
  }
  present(name, { container: lookup }, "");
  return lookup(name)
    .mounts.filter((mount) => mount.type !== "tmpfs")
    .map((mount) => ({ ...mount, anonymous: false, readOnly: mount.readOnly || mode === "ro" }));
}

function depth(path: string): number {
  return path.split("/").filter(Boolean).length;
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "create container", object });
}
