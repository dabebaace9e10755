/**
 * Which mounts a container gets, from -v, --mount, --tmpfs, --volumes-from and the image's VOLUMEs.
 *
 * One destination has one mount. Later kinds win over earlier ones in this order: the image's volumes, those of other
 * containers, binds, mounts. tmpfs stands for itself and may not collide. Makes nothing; container-volumes.ts does.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { posix } from "node:path";
import type { ContainerConfig, HostConfig } from "#api-types/container.ts";
import type { ContainerMount, ContainerRecord } from "#engine/containers/container-record.ts";
import { present } from "#engine/requests/check-modes.ts";
import { BerthError } from "#errors/errors.ts";
import type { Image } from "#images/image-types.ts";
import {
  type MountPlan,
  type PlanDefaults,
  parseBind,
  parseVolumesFrom,
  planMount,
} from "#volumes/mount-spec.ts";

export interface MountLookup {
  /** Throws not-found for a container that isn't there. */
  container: (nameOrId: string) => ContainerRecord;
  /** Throws not-found. */
  image: (reference: string) => Pick<Image, "id" | "topLayer">;
  dataRoot: string;
  /** A client from before read-only went for everything below, too. */
  readOnlyMountAlone: boolean;
}

/** Names anonymous volumes; makes nothing. Throws "invalid" with Docker's texts. */
export function resolveMounts(
  config: ContainerConfig,
  hostConfig: HostConfig,
  lookup: MountLookup,
): ContainerMount[] {
  const byDestination = new Map<string, ContainerMount>();
  const explicit = new Set<string>();
  const put = (mount: ContainerMount) => byDestination.set(mount.destination, mount);
  const putOnce = (mount: ContainerMount, given: string) => {
    if (explicit.has(mount.destination)) throw invalid(`Duplicate mount point: ${given}`, given);
    explicit.add(mount.destination);
    put(mount);
  };
  const volumeDriver = hostConfig.VolumeDriver ?? "";
  const defaults: PlanDefaults = { volumeDriver, readOnlyMountAlone: lookup.readOnlyMountAlone };
  for (const path of Object.keys(config.Volumes ?? {})) put(anonymousVolume(path, volumeDriver));
  for (const from of hostConfig.VolumesFrom ?? []) for (const mount of mountsOf(from, lookup)) put(mount);
  for (const bind of hostConfig.Binds ?? []) {
    const mount = fromPlan(parseBind(bind, defaults), lookup);
    putOnce(mount, mount.destination);
  }
  for (const mount of hostConfig.Mounts ?? [])
    putOnce(fromPlan(planMount(mount, existsSync, { ...defaults, volumeDriver: "" }), lookup), mount.Target);
  for (const [path, options] of Object.entries(hostConfig.Tmpfs ?? {})) {
    const mount = tmpfs(path, options);
    putOnce(mount, mount.destination);
  }
  return [...byDestination.values()].sort((a, b) => depth(a.destination) - depth(b.destination));
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

function anonymousVolume(path: string, driver: string): ContainerMount {
  if (!path.startsWith("/")) throw invalid(`invalid mount path: '${path}' mount path must be absolute`, path);
  if (posix.normalize(path) === "/") throw invalid("invalid specification: destination can't be '/'", path);
  return {
    ...PLAIN,
    type: "volume",
    volume: randomBytes(32).toString("hex"),
    ...(driver === "" ? {} : { driver }),
    destination: posix.normalize(path).replace(/(.)\/$/, "$1"),
    anonymous: true,
  };
}

function fromPlan(plan: MountPlan, lookup: MountLookup): ContainerMount {
  const anonymous = plan.type === "volume" && plan.volumeName === "";
  const common = {
    ...PLAIN,
    type: plan.type,
    destination: plan.destination,
    readOnly: plan.readOnly,
    readOnlyTree: plan.readOnlyTree,
    propagation: plan.propagation,
    mode: plan.mode,
    tmpfsOptions: plan.tmpfsOptions,
    recursive: plan.recursive,
    subpath: plan.subpath,
  };
  if (plan.type === "image") {
    const { id, topLayer } = imageOf(plan.source, lookup);
    return {
      ...common,
      source: id,
      volume: plan.source,
      ...(topLayer === undefined ? {} : { layer: topLayer }),
    };
  }
  if (plan.type === "bind") {
    return {
      ...common,
      ...bindPropagation(plan, lookup.dataRoot),
      source: plan.source,
      createSource: plan.createSource,
    };
  }
  return {
    ...common,
    volume: anonymous ? randomBytes(32).toString("hex") : plan.volumeName,
    ...(plan.driver === "" || plan.driver === "local"
      ? {}
      : { driver: plan.driver, mode: plan.mode === "z" ? "" : plan.mode }),
    ...(Object.keys(plan.driverOptions).length === 0 ? {} : { driverOptions: plan.driverOptions }),
    ...(Object.keys(plan.labels).length === 0 ? {} : { labels: plan.labels }),
    // What the image has there is not what a part of the volume should have.
    noCopy: plan.noCopy || plan.subpath !== "",
    anonymous,
  };
}

/**
 * A private copy of what the daemon mounts would keep it from unmounting it again: around the data root, what is unmounted on
 * the host goes in the container, too.
 */
function bindPropagation(
  { source, propagation }: MountPlan,
  dataRoot: string,
): Pick<ContainerMount, "propagation" | "propagationByDefault"> {
  const near = source.startsWith(dataRoot) || dataRoot.startsWith(source);
  if (!near) return { propagation: propagation || "rprivate" };
  if (propagation === "") return { propagation: "rslave", propagationByDefault: true };
  if (propagation === "rslave" || propagation === "rshared") return { propagation };
  throw invalid(
    `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: ${JSON.stringify(dataRoot)}, bind mount source: ${JSON.stringify(source)}, propagation: ${JSON.stringify(propagation)}`,
    source,
  );
}

/** Not found is the container's own image to clients, who would pull it. */
function imageOf(reference: string, lookup: MountLookup): Pick<Image, "id" | "topLayer"> {
  try {
    return lookup.image(reference);
  } catch (cause) {
    if (!(cause instanceof BerthError)) throw cause;
    throw invalid(cause.message, reference, `docker pull ${reference}`);
  }
}

function tmpfs(path: string, options: string): ContainerMount {
  if (!path.startsWith("/")) throw invalid(`invalid mount path: '${path}' mount path must be absolute`, path);
  const destination = posix.normalize(path).replace(/(.)\/$/, "$1");
  if (destination === "/") throw invalid("invalid specification: destination can't be '/'", path);
  return {
    ...PLAIN,
    type: "tmpfs",
    destination,
    tmpfsOptions: options,
    readOnly: options.split(",").includes("ro"),
    mode: FROM_TMPFS_FLAG,
  };
}

/** `--tmpfs` mounts are listed in HostConfig.Tmpfs only, not under Mounts. */
export const FROM_TMPFS_FLAG = "tmpfs-flag";

/** "name[:ro|rw]" → that container's mounts. */
function mountsOf(from: string, lookup: MountLookup): ContainerMount[] {
  const { name, readOnly } = parseVolumesFrom(from);
  if (name === "") throw invalid('invalid name or ID supplied: ""', from);
  present(name, lookup, "");
  return (
    lookup
      .container(name)
      // Memory is each container's own.
      .mounts.filter((mount) => mount.type !== "tmpfs")
      .map((mount) => ({
        ...mount,
        mode: "",
        noCopy: true,
        readOnly: mount.readOnly || readOnly,
        readOnlyTree: mount.readOnlyTree || (readOnly && !lookup.readOnlyMountAlone),
      }))
  );
}

function depth(path: string): number {
  return path.split("/").filter(Boolean).length;
}

function invalid(message: string, object: string, hint?: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "create container",
    object,
    ...(hint === undefined ? {} : { hint }),
  });
}
