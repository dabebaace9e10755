/**
 * Volumes: named directories that outlive containers, at `<data-root>/volumes/<name>/_data` as Docker lays them out, or what a
 * plugin makes of them.
 */
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";
import type { LayerView } from "#storage/driver-types.ts";

export interface VolumeService {
  start(): Promise<void>;
  /**
   * Creates, or answers the existing one of that name ("conflict" if another driver has it). An empty name makes an
   * anonymous volume (64 hex digits, labelled com.docker.volume.anonymous). "not-found" for a driver that isn't there.
   * With a container, that refers to it from then on (rows; survive restarts).
   */
  create(request: VolumeCreateRequest, containerId?: string): Promise<Volume>;
  /** "not-found": "get x: no such volume". */
  inspect(name: string): Promise<Volume>;
  /** What plugins that can't be asked have is listed as far as it is known here; the warnings say which they are. */
  list(filters: Record<string, string[]>): Promise<{ Volumes: Volume[]; Warnings: string[] }>;
  /** "conflict" when in use: "remove x: volume is in use - [ids]". `force`: a missing one is no error, and one is forgotten whose plugin can't remove it. */
  remove(name: string, force: boolean): Promise<void>;
  /**
   * Removes anonymous volumes (`all=true`: every one) of the local driver that nothing refers to. Those with options stay:
   * what they show lies elsewhere. Filters: label, label!, all. "conflict" while another prune runs.
   */
  prune(filters: Record<string, string[]>): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }>;
  /** Bytes in it, measured in a worker, and how many containers refer to it. Throws "not-found". */
  usage(name: string): Promise<{ Size: number; RefCount: number }>;
  /** The container refers to it no more. */
  dereference(name: string, containerId: string): void;
  /** It refers to no volume any more, whatever its record says. */
  dereferenceAll(containerId: string): void;
  /** Makes it ready for one more user, and answers the host path to bind. A user has it once. */
  mount(name: string, user: VolumeUser): Promise<string>;
  /** Undoes `mount`; nothing for who does not have it. */
  unmount(name: string, user: VolumeUser): Promise<void>;
  /** That user has had it since before this daemon started. Before anything is mounted. */
  adopt(name: string, user: VolumeUser): void;
  /** Unmounts what nobody has; at start-up, when all users from before are known. */
  unmountUnused(): Promise<void>;
  /**
   * Copies the image's content at `path` (through the layers, nothing mounted) into the volume if that is
   * empty, with owners, modes, times and xattrs; nothing if the path isn't there. In a worker. A crash half way leaves a
   * volume of the local driver that still counts as empty.
   */
  populate(name: string, user: VolumeUser, layers: () => Promise<LayerView>, path: string): Promise<void>;
  /** "local", and the plugins that have been used. */
  drivers(): string[];
}

/** Who has a volume mounted, and where. */
export interface VolumeUser {
  container: string;
  destination: string;
  readOnly: boolean;
  propagation: string;
  /** For work on files: no event tells of it. */
  quiet?: boolean;
}

/** Emitted for docker events. */
export type VolumeEventListener = (
  action: "create" | "destroy" | "mount" | "unmount" | "prune",
  name: string,
  attributes: Record<string, string>,
) => void;
