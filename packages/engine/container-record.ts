/**
 * A container as it is stored: one row, written before what it owns is made and deleted after that is gone.
 */
import type { ContainerConfig, ContainerState, HostConfig, MountPoint } from "#api-types/container.ts";
import type { EndpointSettings } from "#api-types/network.ts";
import type { Migrations } from "#state/database.ts";

/**
 * Where the container is in its own making and unmaking. A row found "creating" or "removing" at start-up belongs to
 * an operation that a crash cut short: both are finished by removing what is left.
 */
export type Phase = "creating" | "present" | "removing";

/** A mount with all names resolved. */
export interface ContainerMount {
  type: "bind" | "volume" | "tmpfs";
  /** Host path for a bind; empty for a volume (its path is asked for at each start) and tmpfs. */
  source: string;
  volume: string;
  destination: string;
  readOnly: boolean;
  propagation: string;
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

export interface ContainerRecord {
  id: string;
  /** Without slash; empty once the name was given back in removal. */
  name: string;
  phase: Phase;
  created: string;
  /** Image id, and the name it was asked by. */
  imageId: string;
  imageName: string;
  config: ContainerConfig;
  hostConfig: HostConfig;
  endpoints: Record<string, Partial<EndpointSettings>>;
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

/** What inspect shows under Mounts. */
export function mountPoint(mount: ContainerMount, volumePath: (name: string) => string): MountPoint {
  const common = {
    Destination: mount.destination,
    Mode: mount.mode,
    RW: !mount.readOnly,
    Propagation: mount.propagation,
  };
  if (mount.type === "volume") {
    return {
      Type: "volume",
      Name: mount.volume,
      Source: volumePath(mount.volume),
      Driver: "local",
      ...common,
    };
  }
  return { Type: mount.type, Source: mount.source, ...common };
}
