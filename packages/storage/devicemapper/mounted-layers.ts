/**
 * Layers within reach: each device that somebody works with is active and mounted at `devicemapper/mnt/<layer>`, and only
 * as long as that. Counted; everything that concerns one layer happens one after another.
 *
 * Owns the mounts and the active devices of the driver. A daemon that comes back finds those of containers that run, and
 * ends those that nobody holds again.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { MNT_DETACH, mountSlowly, unmountSlowly } from "#kernel/mount-syscalls.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { mountData } from "#storage/devicemapper/base-file-system.ts";
import type { DeviceRows } from "#storage/devicemapper/device-rows.ts";
import type { ThinPool } from "#storage/devicemapper/thin-pool.ts";
import { noSuchLayer } from "#storage/layer-names.ts";

/** One layer, as far as it is within reach. */
interface Reach {
  holders: number;
  mounted: boolean;
  /** The number of its device, when it was mounted. */
  device: number;
  /** The end of what is being done with it. */
  last: Promise<unknown>;
}

export interface MountOptions {
  given: readonly string[];
  /** `dm.xfs_nospace_max_retries`. */
  xfsRetries: string | undefined;
}

export class MountedLayers {
  readonly #directory: string;
  readonly #pool: ThinPool;
  readonly #rows: DeviceRows;
  readonly #options: MountOptions;
  readonly #reach = new Map<string, Reach>();

  constructor(directory: string, pool: ThinPool, rows: DeviceRows, options: MountOptions) {
    this.#directory = directory;
    this.#pool = pool;
    this.#rows = rows;
    this.#options = options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Where a layer's device is mounted while it is held. */
  path(name: string): string {
    return join(this.#directory, name);
  }

  /** Finds what an earlier daemon left mounted, and lets go on what it had stopped for a moment. */
  async adopt(): Promise<void> {
    await this.#pool.resumeAll();
    for (const { mountPoint } of readMountInfo()) {
      const name = basename(mountPoint);
      if (mountPoint !== this.path(name)) continue;
      Object.assign(this.#of(name), { mounted: true, device: this.#rows.get(name)?.device_id ?? 0 });
    }
  }

  /** Takes out of reach what nobody holds. */
  async releaseUnheld(): Promise<void> {
    for (const name of [...(await this.#pool.active()), ...readdirSync(this.#directory)]) this.#of(name);
    await Promise.all([...this.#reach.keys()].map((name) => this.#serially(name, () => this.#leave(name))));
  }

  /** Throws "not-found" for a layer that is not there. */
  async hold(name: string): Promise<AsyncDisposable> {
    const reach = this.#of(name);
    reach.holders++;
    try {
      await this.#serially(name, () => this.#enter(name, reach));
    } catch (error) {
      reach.holders--;
      await this.#serially(name, () => this.#leave(name));
      throw error;
    }
    let held = true;
    return {
      [Symbol.asyncDispose]: async () => {
        if (!held) return;
        held = false;
        reach.holders--;
        if (reach.holders === 0) await this.#serially(name, () => this.#leave(name));
      },
    };
  }

  /** Does something with a layer while nothing else happens to its device. */
  alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    return this.#serially(name, work);
  }

  isHeld(name: string): boolean {
    return (this.#reach.get(name)?.holders ?? 0) > 0;
  }

  /** Its device is gone. */
  forget(name: string): void {
    if (!this.isHeld(name)) this.#reach.delete(name);
  }

  #of(name: string): Reach {
    let reach = this.#reach.get(name);
    if (reach === undefined) {
      reach = { holders: 0, mounted: false, device: 0, last: Promise.resolve() };
      this.#reach.set(name, reach);
    }
    return reach;
  }

  #serially<T>(name: string, work: () => Promise<T>): Promise<T> {
    const reach = this.#of(name);
    const result = reach.last.then(work, work);
    reach.last = result.catch(() => undefined);
    return result;
  }

  async #enter(name: string, reach: Reach): Promise<void> {
    const row = this.#rows.get(name);
    if (row === undefined) throw noSuchLayer(name);
    if (reach.mounted && reach.device === row.device_id) return;
    if (reach.mounted) throw stillUsed(name);
    const kind = this.#rows.fileSystem;
    const device = await this.#pool.activate(name, row.device_id, row.size);
    const path = this.path(name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    await mountSlowly(device, path, kind, 0, mountData(kind, this.#options.given));
    Object.assign(reach, { mounted: true, device: row.device_id });
    if (kind === "xfs" && this.#options.xfsRetries !== undefined) await this.#limitRetries(name);
  }

  /** The last one has gone. */
  async #leave(name: string): Promise<void> {
    const reach = this.#of(name);
    if (reach.holders > 0) return;
    const path = this.path(name);
    if (reach.mounted) {
      await unmount(path);
      reach.mounted = false;
    }
    if (existsSync(path)) rmdirSync(path);
    await this.#pool.deactivate(name);
  }

  async #limitRetries(name: string): Promise<void> {
    const state = await this.#pool.stateOf(name);
    const file = `/sys/fs/xfs/dm-${state?.minor}/error/metadata/ENOSPC/max_retries`;
    await writeFile(file, this.#options.xfsRetries ?? "");
  }
}

function stillUsed(name: string): BerthError {
  return new BerthError("conflict", `the layer that was ${name} before is still in use`, {
    operation: "mount layer",
    object: name,
  });
}

/** Everything is written back then, unless somebody still has a file of it. */
async function unmount(path: string): Promise<void> {
  try {
    await unmountSlowly(path);
  } catch (error) {
    if (isErrno(error, "EINVAL", "ENOENT")) return; // It is not mounted.
    if (!isErrno(error, "EBUSY")) throw error;
    await unmountSlowly(path, MNT_DETACH);
  }
}
