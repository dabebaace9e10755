/**
 * Volumes: named directories that outlive containers, at `<data-root>/volumes/<name>/_data` as Docker lays them out.
 */
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";

export interface VolumeService {
  start(): Promise<void>;
  /** Creates, or answers the existing one of that name if driver and options agree (else "conflict"). An empty name makes an anonymous volume (64 hex digits, labelled com.docker.volume.anonymous). */
  create(request: VolumeCreateRequest): Promise<Volume>;
  /** "not-found": "get x: no such volume". */
  inspect(name: string): Volume;
  list(filters: Record<string, string[]>): { Volumes: Volume[]; Warnings: string[] };
  /** "conflict" when in use: "remove x: volume is in use - [ids]". `force` makes a missing one no error. */
  remove(name: string, force: boolean): Promise<void>;
  /**
   * Removes anonymous volumes (`all=true`: every one) that nothing refers to. Those with mount options stay: what they show
   * lies elsewhere. Filters: label, label!, all.
   */
  prune(filters: Record<string, string[]>): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }>;
  /** Bytes in it, measured in a worker, and how many containers refer to it. Throws "not-found". */
  usage(name: string): Promise<{ Size: number; RefCount: number }>;
  /** A container refers to it (rows; survive restarts). */
  reference(name: string, containerId: string): void;
  dereference(name: string, containerId: string): void;
  /** Makes it ready for use by a container and answers the host path to bind (for `local` with options: mounts it). */
  mount(name: string, containerId: string, where?: MountedWhere): Promise<string>;
  unmount(name: string, containerId: string): Promise<void>;
  /** Is nothing in it yet? Then image content is copied up at first use. */
  isEmpty(name: string): Promise<boolean>;
  /**
   * Copies the image's content at `path` (through the layers, uppermost first, nothing mounted) into the empty volume,
   * with owners, modes, times and xattrs; nothing if the path isn't there. In a worker. A crash half way leaves a volume
   * that still counts as empty.
   */
  copyUp(name: string, layerDirectories: string[], path: string): Promise<void>;
}

/** Where a container has it, for the event. */
export interface MountedWhere {
  destination: string;
  readOnly: boolean;
  propagation: string;
}
