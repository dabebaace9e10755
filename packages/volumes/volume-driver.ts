/**
 * What makes, mounts and removes volumes: the local driver, or a plugin. Who uses which volume, what it is called and
 * labelled, is the volume service's to know.
 */

export interface DriverVolume {
  name: string;
  /** Path on the host; empty where a driver tells it only for a mounted one. */
  mountpoint: string;
  /** RFC 3339; missing where a driver does not tell. */
  createdAt?: string;
  status?: Record<string, unknown>;
}

export interface VolumeDriver {
  readonly name: string;
  scope(): Promise<"local" | "global">;
  create(name: string, options: Record<string, string>): Promise<void>;
  /** Undefined if it has none of that name. */
  get(name: string): Promise<DriverVolume | undefined>;
  list(): Promise<DriverVolume[]>;
  remove(name: string): Promise<void>;
  /** Ready for one more user; answers the host path. `user` is known to the driver until `unmount`. */
  mount(name: string, user: string): Promise<string>;
  unmount(name: string, user: string): Promise<void>;
}
