/**
 * Volumes of all drivers: their names, labels and users.
 *
 * A row is written before what it stands for is made and deleted after that is gone. References of containers are rows,
 * too, so that a volume in use is not removed after a restart; who has a volume mounted is known from the containers that
 * run. What one plugin does or does not do keeps only its own volumes waiting.
 */
import { randomBytes } from "node:crypto";
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { Plugins } from "#plugins/plugins.ts";
import type { Database } from "#state/database.ts";
import type { LayerView } from "#storage/driver-types.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { KnownVolumes, noSuchVolume } from "#volumes/known-volumes.ts";
import { LocalDriver } from "#volumes/local-driver.ts";
import { VolumePlugins } from "#volumes/plugins/volume-plugins.ts";
import { populateVolume } from "#volumes/populate.ts";
import { pruneVolumes } from "#volumes/prune-volumes.ts";
import { Turns } from "#volumes/turns.ts";
import { asking, VolumeDrivers } from "#volumes/volume-drivers.ts";
import { ANONYMOUS_LABEL, volumeFilter } from "#volumes/volume-filters.ts";
import { DAMAGED, type VolumeRow, VolumeRows } from "#volumes/volume-rows.ts";
import type { VolumeEventListener, VolumeService, VolumeUser } from "#volumes/volume-types.ts";
import { keyOf, VolumeUsers } from "#volumes/volume-users.ts";

export interface VolumeOptions {
  database: Database;
  dataRoot: string;
  /** Whose new volumes are: root's, or whom containers' root is on the host. */
  owner?: { uid: number; gid: number };
  logger?: Logger;
  /** None: only the local driver. */
  plugins?: Plugins;
  onEvent: VolumeEventListener;
}

export function createVolumeService(options: VolumeOptions): VolumeService {
  return new Volumes(options);
}

class Volumes implements VolumeService {
  readonly #rows: VolumeRows;
  readonly #local: LocalDriver;
  readonly #drivers: VolumeDrivers;
  readonly #known: KnownVolumes;
  readonly #onEvent: VolumeOptions["onEvent"];
  readonly #logger: Logger | undefined;
  readonly #measuring = new StorageWorkers(1);
  readonly #users: VolumeUsers;
  /** Fillings of one volume wait for each other. */
  readonly #filling = new Turns();
  /** Creations and removals of one name do. */
  readonly #changing = new Turns();
  #pruning = false;

  constructor({ database, dataRoot, owner, onEvent, logger, plugins }: VolumeOptions) {
    this.#rows = new VolumeRows(database, logger);
    this.#local = new LocalDriver({
      dataRoot,
      owner: owner ?? { uid: 0, gid: 0 },
      optionsOf: (name) => this.#rows.get(name)?.options ?? {},
    });
    this.#drivers = new VolumeDrivers(
      this.#local,
      new VolumePlugins(plugins ?? new Plugins({ sockets: [], specs: [] })),
    );
    this.#known = new KnownVolumes(this.#rows, this.#local, this.#drivers);
    this.#users = new VolumeUsers(this.#drivers, onEvent, logger);
    this.#onEvent = onEvent;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    for (const damaged of this.#rows.repair()) {
      this.#logger?.error("a volume's record is damaged", { ...damaged, volume: damaged.name });
    }
    const known = this.#rows.all().filter(({ driver }) => driver === "local");
    const { found, removed } = await this.#local.start(new Set(known.map(({ name }) => name)));
    for (const name of removed) this.#rows.delete(name, () => this.#local.forget(name));
    // Put there by hand, or its row was lost.
    for (const name of found) {
      if (this.#rows.get(name) === undefined)
        this.#rows.insert({ name, labels: {}, options: {}, driver: "local" });
    }
  }

  async create(request: VolumeCreateRequest, containerId?: string): Promise<Volume> {
    const name = request.Name || randomBytes(32).toString("hex");
    return await this.#changing.run(name, async () => {
      const volume = await this.#findOrMake(name, request);
      // In this turn: the next may be that of a removal.
      if (containerId !== undefined) this.#rows.reference(name, containerId);
      return volume;
    });
  }

  async #findOrMake(name: string, request: VolumeCreateRequest): Promise<Volume> {
    const row = await this.#known.findForCreate(name, request.Driver ?? "", request.Name !== undefined);
    if (row !== undefined) return await this.#known.describe(row, "create");
    const labels = request.Name ? request.Labels : { [ANONYMOUS_LABEL]: "", ...request.Labels };
    return await this.#make(name, request.Driver || "local", labels ?? {}, request.DriverOpts ?? {});
  }

  async #make(
    name: string,
    driverName: string,
    labels: Record<string, string>,
    options: Record<string, string>,
  ): Promise<Volume> {
    const operation = `create ${name}`;
    const driver = await this.#drivers.get(driverName, operation);
    if (driver === this.#local) this.#local.check(name, options);
    const there = driver === this.#local ? undefined : await asking(operation, name, () => driver.get(name));
    const row = this.#rows.insert({ name, labels, options, driver: driver.name });
    if (there === undefined) {
      try {
        await asking(operation, name, () => driver.create(name, options));
      } catch (error) {
        this.#rows.delete(name);
        throw error;
      }
    }
    this.#onEvent("create", name, { driver: driver.name });
    return await this.#known.describe(row, "create");
  }

  async inspect(name: string): Promise<Volume> {
    const row = await this.#known.find(name);
    if (row === undefined) throw noSuchVolume(name);
    return await this.#known.describe(row, "get");
  }

  async list(filters: Record<string, string[]>): Promise<{ Volumes: Volume[]; Warnings: string[] }> {
    const passes = volumeFilter(filters, (name) => this.#rows.references(name).length > 0);
    const rows = this.#rows.all();
    const volumes = rows
      .filter(({ driver }) => driver === "local")
      .map((row) => this.#known.describeLocal(row));
    const warnings: string[] = [];
    const wanted = filters.driver ?? [];
    if (wanted.length === 0 || wanted.some((driver) => driver !== "local")) {
      const foreign = rows.filter(({ driver }) => driver !== "local");
      const listed = await this.#drivers.listForeign(foreign, new Set(rows.map(({ name }) => name)));
      volumes.push(...listed.volumes);
      warnings.push(...listed.warnings);
    }
    return { Volumes: volumes.filter(passes), Warnings: warnings };
  }

  async remove(name: string, force: boolean): Promise<void> {
    await this.#changing.run(name, async () => {
      const row = await this.#known.find(name);
      if (row === undefined) {
        if (force) return;
        throw noSuchVolume(name);
      }
      const users = this.#rows.references(name);
      if (users.length > 0) {
        throw new BerthError("conflict", `remove ${name}: volume is in use - [${users.join(", ")}]`, {
          operation: "remove volume",
          object: name,
          hint: "remove the containers that use it first",
        });
      }
      await this.#users.leaving(name);
      try {
        const driver = await this.#drivers.get(row.driver, `remove ${name}`);
        await asking(`remove ${name}`, name, () => driver.remove(name));
      } catch (error) {
        if (!force || row.driver === "local") throw error;
        this.#logger?.warn("a volume is forgotten that its plugin does not remove", { volume: name, error });
      }
      this.#rows.delete(name, () => {
        if (row.driver === "local") this.#local.forget(name);
      });
      this.#onEvent("destroy", name, { driver: row.driver });
    });
  }

  async prune(
    filters: Record<string, string[]>,
  ): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
    if (this.#pruning) {
      throw new BerthError("conflict", "a prune operation is already running", {
        operation: "prune volumes",
      });
    }
    this.#pruning = true;
    try {
      const report = await pruneVolumes(filters, {
        rows: this.#rows,
        describe: (row) => this.#known.describeLocal(row),
        size: (name) => this.#size(name),
        remove: (name) => this.remove(name, false),
      });
      this.#onEvent("prune", "", { reclaimed: String(report.SpaceReclaimed) });
      return report;
    } finally {
      this.#pruning = false;
    }
  }

  async usage(name: string): Promise<{ Size: number; RefCount: number }> {
    this.#known.get(name);
    return { Size: await this.#size(name), RefCount: this.#rows.references(name).length };
  }

  dereference(name: string, containerId: string): void {
    this.#rows.dereference(name, containerId);
  }

  dereferenceAll(containerId: string): void {
    this.#rows.dereferenceAll(containerId);
  }

  async mount(name: string, user: VolumeUser): Promise<string> {
    const row = this.#known.get(name);
    refuseDamaged(row, this.#local);
    return await this.#users.mount(row, user);
  }

  async unmount(name: string, user: VolumeUser): Promise<void> {
    await this.#users.unmount(name, this.#rows.get(name)?.driver ?? "local", user);
  }

  adopt(name: string, user: VolumeUser): void {
    this.#users.adopt(name, user);
    if (this.#rows.get(name)?.driver === "local") this.#local.adopt(name, keyOf(user));
  }

  async unmountUnused(): Promise<void> {
    for (const { path, error } of await this.#local.unmountUnused()) {
      this.#logger?.error("a volume that nobody uses stays mounted", { path, error });
    }
  }

  /** One after the other for a volume: who comes second finds what the first has put there. */
  async populate(
    name: string,
    user: VolumeUser,
    layers: () => Promise<LayerView>,
    path: string,
  ): Promise<void> {
    await this.#filling.run(name, async () => {
      const row = this.#known.get(name);
      const mine = { ...user, quiet: true };
      await populateVolume(name, path, {
        local: row.driver === "local" ? this.#local : undefined,
        shared: () => this.#rows.references(name).length > 1,
        layers,
        mount: () => this.mount(name, mine),
        unmount: () => this.unmount(name, mine),
      });
    });
  }

  drivers(): string[] {
    return this.#drivers.names;
  }

  async #size(name: string): Promise<number> {
    return (await this.#measuring.run({ kind: "measure", path: this.#local.path(name) })) as number;
  }
}

/** What it should be mounted from is not known: its place on the host alone would be another volume. */
function refuseDamaged({ name, options }: VolumeRow, local: LocalDriver): void {
  const kept = options[DAMAGED];
  if (kept === undefined) return;
  throw new BerthError("conflict", `volume ${name} cannot be used: its options were damaged, see ${kept}`, {
    operation: "mount volume",
    object: name,
    hint: `save what is in ${local.path(name)}, remove the volume, and create it again with its options`,
  });
}
