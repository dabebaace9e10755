/**
 * A container as it is stored: one row, written before what it owns is made and deleted after that is gone.
 */
import type { ContainerConfig, ContainerState, HostConfig, MountPoint } from "#api-types/container.ts";
import type { EndpointSettings } from "#api-types/network.ts";
import { ZERO_TIME } from "#engine/timestamps.ts";
import type { Migrations } from "#state/database.ts";

/**
 * Where the container is in its own making and unmaking. A row found "creating" or "removing" at start-up belongs to
 * an operation that a crash cut short: both are finished by removing what is left.
 */
export type Phase = "creating" | "present" | "removing";

/** A mount with all names resolved. */
export interface ContainerMount {
  type: "bind" | "volume" | "tmpfs" | "image";
  /**
   * Host path for a bind, id of an image; where a plugin's volume is; empty for one of the local driver (its path is asked
   * for at each start) and tmpfs.
   */
  source: string;
  /** Name of the volume, or the name the image was asked by. */
  volume: string;
  /** Driver of the volume; missing for the local one. */
  driver?: string;
  /** Storage's id of the image's uppermost layer; missing for an image without layers. */
  layer?: string;
  /** What the volume is made with, if it isn't there yet. */
  driverOptions?: Record<string, string>;
  labels?: Record<string, string>;
  destination: string;
  readOnly: boolean;
  /** What is mounted below is read-only, too. */
  readOnlyTree?: boolean;
  propagation: string;
  /** Nobody asked for this propagation: another does where the source cannot have it. */
  propagationByDefault?: boolean;
  /** As the user wrote it: "ro,z". Shown by inspect. */
  mode: string;
  noCopy: boolean;
  /** Option string of a tmpfs: "size=64m,mode=1777". */
  tmpfsOptions: string;
  /** Recursive bind (the default) or of that one mount only. */
  recursive: boolean;
  /** Made for this container alone, gone with `rm -v` and `--rm`. */
  anonymous: boolean;
  /** Part of the volume that is mounted; empty for all. */
  subpath: string;
  /** Make a missing source directory (-v does, --mount does not). */
  createSource: boolean;
}

/** Another container, and what this one calls it (--link). */
export interface ContainerLink {
  containerId: string;
  alias: string;
}

export interface ContainerRecord {
  id: string;
  /** Without slash; empty once the name was given back in removal. */
  name: string;
  phase: Phase;
  /** Its removal takes the volumes along that were made for it alone; missing until that begins. */
  takesVolumes?: boolean;
  created: string;
  /** Image id, and the name it was asked by. */
  imageId: string;
  imageName: string;
  config: ContainerConfig;
  hostConfig: HostConfig;
  endpoints: Record<string, Partial<EndpointSettings>>;
  /** Containers linked to on the default bridge. */
  links?: ContainerLink[];
  mounts: ContainerMount[];
  path: string;
  args: string[];
  state: ContainerState;
  restartCount: number;
  /** Start time of the first process (clock ticks since boot, /proc/pid/stat field 22), to know it again. */
  startTicks: string;
  /** A user stopped it: unless-stopped policies leave it be. */
  manuallyStopped: boolean;
  /** A user wanted this run to end: no policy has a say until it is started again. */
  endWanted?: boolean;
  /** Volumes that were already filled from the image. */
  populated: boolean;
  /** Why what it was made with is not known any more; missing for a container that can be started. */
  lost?: string;
}

/** The state of a container that has never run. */
export function neverRun(): ContainerState {
  return {
    Status: "created",
    Running: false,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: 0,
    ExitCode: 0,
    Error: "",
    StartedAt: ZERO_TIME,
    FinishedAt: ZERO_TIME,
  };
}

export const containerMigrations: Migrations = {
  area: "containers",
  steps: [
    `CREATE TABLE container (
       id TEXT PRIMARY KEY,
       name TEXT UNIQUE,
       phase TEXT NOT NULL CHECK (phase IN ('creating', 'present', 'removing')),
       created INTEGER NOT NULL,
       record TEXT NOT NULL
     ) STRICT`,
  ],
};

/** What inspect shows under Mounts. `pathOf`: where volumes and images lie on the host. */
export function mountPoint(mount: ContainerMount, pathOf: (mount: ContainerMount) => string): MountPoint {
  const common = {
    Destination: mount.destination,
    Mode: mount.mode,
    RW: !mount.readOnly,
    Propagation: mount.propagation,
  };
  const { type, volume: Name, driver: Driver = "local" } = mount;
  if (type === "volume") return { Type: type, Name, Source: pathOf(mount), Driver, ...common };
  if (type === "image") return { Type: type, Name, Source: pathOf(mount), ...common };
  return { Type: type, Source: mount.source, ...common };
}
