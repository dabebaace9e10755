/**
 * The devicemapper storage driver: every layer is a block device in a thin pool that began as a snapshot of the one below,
 * with a whole file system on it. While somebody works with a layer its device is mounted at `devicemapper/mnt/<id>`, with
 * the layer's files in `rootfs`, as Docker has it.
 *
 * A layer's row is written under a name with a dot, the device made, and the row given its plain name: a plain name is a
 * whole layer whatever happens. What a container begins as is made before it is asked for, since each step waits for the
 * disk.
 */

import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "#errors/logger-types.ts";
import { humanSize } from "#go-values/size.ts";
import { DeviceMapper } from "#kernel/device-mapper.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import { openBase } from "#storage/devicemapper/base-device.ts";
import { growFileSystem } from "#storage/devicemapper/base-file-system.ts";
import { DeviceRemoval } from "#storage/devicemapper/device-removal.ts";
import { baseName, DeviceRows } from "#storage/devicemapper/device-rows.ts";
import {
  type DevicemapperOptions,
  driverName,
  parseDevicemapperOptions,
} from "#storage/devicemapper/devicemapper-options.ts";
import { openGivenPool, setUpDirectLvm } from "#storage/devicemapper/direct-lvm.ts";
import { driverStatus } from "#storage/devicemapper/driver-status.ts";
import { requireKernel, requireThinPools } from "#storage/devicemapper/kernel-needs.ts";
import { openOwnPool } from "#storage/devicemapper/loop-pool.ts";
import { MountedLayers } from "#storage/devicemapper/mounted-layers.ts";
import type { PoolPlace } from "#storage/devicemapper/pool-place.ts";
import { ThinPool } from "#storage/devicemapper/thin-pool.ts";
import { cannotLimit, sizeOption } from "#storage/driver-options.ts";
import type {
  LayerComparison,
  LayerUse,
  Owner,
  SizeOptions,
  StorageDriver,
  WritableOptions,
} from "#storage/driver-types.ts";
import { pathExists } from "#storage/layer-files.ts";
import {
  checkLayerId,
  gonePrefix,
  initSuffix,
  newPrefix,
  noSuchLayer,
  ownerOf,
} from "#storage/layer-names.ts";
import { LayersInMaking } from "#storage/layers-in-making.ts";
import { PreparedRoots, preparedPrefix } from "#storage/prepared-roots.ts";
import { makeMountPoints } from "#storage/whole-mount-points.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Trees walked at once. */
const walks = 2;

export interface DevicemapperRequest {
  /** The daemon's data root; all is in `<dataRoot>/devicemapper`. */
  dataRoot: string;
  /** "key=value" of `--storage-opt`. */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
  logger: Logger;
}

/** Throws "invalid" with Docker's text for a wrong option, "unavailable" where the kernel has no device mapper. */
export function createDevicemapperDriver(request: DevicemapperRequest): StorageDriver {
  const options = parseDevicemapperOptions(request.options ?? []);
  requireKernel(request.dataRoot);
  return new DevicemapperDriver(request, options);
}

/** What there is once it has started. */
interface Started {
  mapper: DeviceMapper;
  place: PoolPlace;
  pool: ThinPool;
  rows: DeviceRows;
  mounted: MountedLayers;
  removal: DeviceRemoval;
}

class DevicemapperDriver implements StorageDriver {
  readonly name = driverName;
  readonly whiteouts = "apply";
  readonly #base: string;
  readonly #layouts: string;
  readonly #owner: Owner;
  readonly #options: DevicemapperOptions;
  readonly #logger: Logger;
  readonly #workers = new StorageWorkers(walks);
  readonly #layoutRemoval = new BackgroundRemoval();
  readonly #making = new LayersInMaking();
  #started: Started | undefined;
  readonly #prepared = new PreparedRoots({
    base: (parent, owner) => this.#makePrepared(parent, owner),
    copy: (base) => this.#snapshot(`${preparedPrefix}${randomUUID()}`, base, this.#rows.get(base)?.parent),
    discard: async (name) => this.#discard(name),
  });

  constructor({ dataRoot, owner, logger }: DevicemapperRequest, options: DevicemapperOptions) {
    this.#base = join(dataRoot, driverName);
    this.#layouts = join(this.#base, "layouts");
    this.#owner = owner ?? { uid: 0, gid: 0 };
    this.#options = options;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    for (const name of ["metadata", "mnt", "layouts"]) {
      mkdirSync(join(this.#base, name), { recursive: true, mode: 0o700 });
    }
    // Before anything is touched: what is damaged stays as it is.
    const rows = new DeviceRows(join(this.#base, "metadata"));
    const mapper = new DeviceMapper();
    let place: PoolPlace | undefined;
    try {
      await requireThinPools(mapper, this.#base);
      const { dev, ino } = statSync(this.#base);
      const prefix = `docker-${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}-${ino}-`;
      place = await this.#openPool(mapper, prefix, rows.get(baseName) !== undefined);
      const pool = new ThinPool(mapper, place.name, prefix, this.#options.deferredRemoval);
      const { mountOptions, xfsRetries } = this.#options;
      const mounted = new MountedLayers(join(this.#base, "mnt"), pool, rows, {
        given: mountOptions,
        xfsRetries,
      });
      await mounted.adopt();
      await openBase({ pool, rows, mounted, place, options: this.#options, owner: this.#owner });
      const discard = this.#options.discard ?? place.dataFile !== "";
      const removal = new DeviceRemoval({ pool, rows, mounted, discard });
      this.#started = { mapper, place, pool, rows, mounted, removal };
    } catch (error) {
      if (place !== undefined) await closePool(mapper, place).catch(() => undefined);
      mapper[Symbol.dispose]();
      throw error;
    }
  }

  async #openPool(mapper: DeviceMapper, prefix: string, used: boolean): Promise<PoolPlace> {
    const { directLvm, pool, force } = this.#options;
    if (directLvm !== undefined) {
      return await openGivenPool(mapper, await setUpDirectLvm(mapper, this.#base, directLvm, force));
    }
    if (pool !== "") return await openGivenPool(mapper, pool);
    const making = {
      base: this.#base,
      name: `${prefix}pool`,
      options: this.#options,
      used,
      logger: this.#logger,
    };
    return await openOwnPool(mapper, making);
  }

  async status(): Promise<[string, string][]> {
    return await driverStatus({ ...this.#live, options: this.#options });
  }

  sizeLimit(options: SizeOptions): number | undefined {
    const size = sizeOption(driverName, options);
    if (size === undefined) return undefined;
    const least = this.#rows.get(baseName)?.size ?? 0;
    if (size < least) {
      throw cannotLimit(driverName, `devmapper: Container size cannot be smaller than ${humanSize(least)}`);
    }
    return size - (size % 512);
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    checkLayerId(cacheId);
    await this.#making.once([cacheId], async () => {
      if (this.#rows.get(cacheId) !== undefined) return;
      await this.#live.pool.check(this.#options.minFreeSpace);
      const name = `${newPrefix}${cacheId}`;
      await this.#snapshot(name, this.#source(parent), parent);
      this.#rows.rename(name, cacheId);
    });
  }

  async createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void> {
    checkLayerId(cacheId);
    const init = `${cacheId}${initSuffix}`;
    await this.#making.once([cacheId, init], async () => {
      if (this.#rows.get(cacheId) !== undefined) return;
      await this.#live.pool.check(this.#options.minFreeSpace);
      // A crash came between the two.
      if (this.#rows.get(init) !== undefined) this.#discard(init);
      const [initName, ownName] = await this.#prepared.take(parent, {
        uid: options.uid ?? 0,
        gid: options.gid ?? 0,
      });
      try {
        if (options.size !== undefined) await this.#grow(ownName, options.size);
      } catch (error) {
        for (const name of [ownName, initName]) this.#discard(name);
        throw error;
      }
      this.#rows.rename(initName, init);
      this.#rows.rename(ownName, cacheId);
    });
  }

  async remove(cacheId: string): Promise<void> {
    checkLayerId(cacheId);
    for (const id of [cacheId, `${cacheId}${initSuffix}`]) {
      await this.#making.settled(id);
      await this.#prepared.forget(id);
      this.#discard(id);
    }
    const layout = this.layoutPath(cacheId);
    if (pathExists(layout)) this.#layoutRemoval.add(layout);
  }

  async exists(cacheId: string): Promise<boolean> {
    return this.#rows.get(cacheId) !== undefined;
  }

  async size(cacheId: string): Promise<number> {
    if (!(await this.exists(cacheId))) return 0;
    await using _held = await this.hold(cacheId, "comparison");
    const comparison = await this.comparison(cacheId);
    return (await this.#workers.run({ kind: "measure-changes", comparison })) as number;
  }

  async hold(cacheId: string, use: LayerUse): Promise<AsyncDisposable> {
    checkLayerId(cacheId);
    await using held = new AsyncDisposableStack();
    held.use(await this.#live.mounted.hold(cacheId));
    const parent = use === "comparison" ? this.#rows.parentOf(cacheId) : undefined;
    if (parent !== undefined) held.use(await this.#live.mounted.hold(parent));
    return held.move();
  }

  async releaseUnheld(): Promise<void> {
    await this.#live.mounted.releaseUnheld();
  }

  diffPath(cacheId: string): string {
    return join(this.#base, "mnt", cacheId, "rootfs");
  }

  layoutPath(cacheId: string): string {
    return join(this.#layouts, cacheId);
  }

  async rootfs(cacheId: string): Promise<RootfsPlan> {
    return { kind: "directory", path: this.#present(cacheId) };
  }

  async layerDirectories(cacheId: string): Promise<string[]> {
    return [this.#present(cacheId)];
  }

  async comparison(cacheId: string): Promise<LayerComparison> {
    const directory = this.#present(cacheId);
    const parent = this.#rows.parentOf(cacheId);
    return {
      directory,
      lower: parent === undefined ? [] : [this.#present(parent)],
      whiteouts: this.whiteouts,
    };
  }

  async metadata(cacheId: string): Promise<Record<string, string> | null> {
    const row = this.#rows.get(cacheId);
    if (row === undefined) return null;
    return {
      DeviceId: String(row.device_id),
      DeviceName: `${this.#live.pool.prefix}${cacheId}`,
      DeviceSize: String(row.size),
    };
  }

  async reconcile(known: ReadonlySet<string>): Promise<void> {
    await this.#prepared.forget();
    for (const name of this.#rows.names()) {
      if (name === baseName) continue;
      if (name.startsWith(gonePrefix)) this.#live.removal.add(name, name);
      else if (name.startsWith(".")) this.#discard(name);
      else if (!known.has(name) && !known.has(ownerOf(name))) await this.remove(ownerOf(name));
    }
    for (const name of readdirSync(this.#layouts)) {
      if (this.#rows.get(name) === undefined) this.#layoutRemoval.add(this.layoutPath(name));
    }
  }

  async settled(): Promise<void> {
    await Promise.all([this.#started?.removal.settled(), this.#layoutRemoval.settled()]);
  }

  async close(): Promise<void> {
    if (this.#started !== undefined) {
      const { mapper, place, mounted, removal } = this.#started;
      await this.#prepared.forget();
      await removal.close();
      await mounted.releaseUnheld();
      await closePool(mapper, place);
      mapper[Symbol.dispose]();
      this.#started = undefined;
    }
    await Promise.all([this.#layoutRemoval.close(), this.#workers.close()]);
  }

  get #live(): Started {
    if (this.#started === undefined) throw new Error("the storage driver has not been started");
    return this.#started;
  }

  get #rows(): DeviceRows {
    return this.#live.rows;
  }

  /** What a layer on `parent` begins as. */
  #source(parent: string | undefined): string {
    if (parent === undefined) return baseName;
    checkLayerId(parent);
    if (this.#rows.get(parent) === undefined) throw noSuchLayer(parent);
    return parent;
  }

  /** A device that is the same as another's; answers its name. The row first: what a crash leaves is found by it. */
  async #snapshot(name: string, source: string, parent: string | undefined): Promise<string> {
    const { pool, rows, mounted } = this.#live;
    // What a failure left under this name.
    if (rows.get(name) !== undefined) this.#discard(name);
    return await mounted.alone(source, async () => {
      const origin = rows.get(source);
      if (origin === undefined) throw noSuchLayer(source);
      const id = rows.nextId();
      await rows.put(name, { device_id: id, size: origin.size, ...(parent === undefined ? {} : { parent }) });
      try {
        await pool.createSnapshot(id, { id: origin.device_id, name: source });
      } catch (error) {
        this.#discard(name);
        throw error;
      }
      return name;
    });
  }

  async #makePrepared(parent: string | undefined, owner: Owner): Promise<string> {
    const name = await this.#snapshot(`${preparedPrefix}${randomUUID()}`, this.#source(parent), parent);
    try {
      await using _held = await this.#live.mounted.hold(name);
      await makeMountPoints(this.diffPath(name), owner, this.#workers);
      return name;
    } catch (error) {
      this.#discard(name);
      throw error;
    }
  }

  /** More room for a device that nobody has mounted. */
  async #grow(name: string, size: number): Promise<void> {
    const { pool, rows, mounted } = this.#live;
    const row = rows.get(name);
    if (row === undefined || size <= row.size) return;
    await rows.put(name, { ...row, size });
    await using _held = await mounted.hold(name);
    await growFileSystem(rows.fileSystem, pool.path(name), mounted.path(name));
  }

  /** Its name is free at once; its device goes in the background. Nothing for what is not there. */
  #discard(name: string): void {
    const { rows, removal } = this.#live;
    if (rows.get(name) === undefined) return;
    const gone = `${gonePrefix}${randomUUID()}`;
    rows.rename(name, gone);
    // What containers begin as has its mount points, and nothing worth the time.
    removal.add(gone, name, { untouched: name.startsWith(preparedPrefix) });
  }

  /** The directory of a layer that must be there. */
  #present(cacheId: string): string {
    checkLayerId(cacheId);
    if (this.#rows.get(cacheId) === undefined) throw noSuchLayer(cacheId);
    return this.diffPath(cacheId);
  }
}

/** Takes our own pool apart, unless containers run in it. */
async function closePool(mapper: DeviceMapper, { own, name }: PoolPlace): Promise<void> {
  if (!own) return;
  const prefix = name.replace(/pool$/, "");
  const active = (await mapper.list()).filter((one) => one.startsWith(prefix) && one !== name);
  if (active.length === 0 && (await mapper.state(name)) !== undefined) await mapper.removeLater(name);
}
