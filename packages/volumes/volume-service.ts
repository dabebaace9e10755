/**
 * Volumes of all drivers: their names, labels and users.
 *
 * A row is written before what it stands for is made and deleted after that is gone. References of containers are rows,
 * too, so that a volume in use is not removed after a restart; who has a volume mounted is known from the containers that
 * run. What one plugin does or does not do keeps only its own volumes waiting.
 */
import { randomBytes } from "node:crypto";
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { Plugins } from "#plugins/plugins.ts";
import type { Database } from "#state/database.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { LocalDriver } from "#volumes/local-driver.ts";
import { VolumePlugins } from "#volumes/plugins/volume-plugins.ts";
import { populateVolume } from "#volumes/populate.ts";
import { asking, describeVolume, VolumeDrivers } from "#volumes/volume-drivers.ts";
import { ANONYMOUS_LABEL, pruneFilter, volumeFilter } from "#volumes/volume-filters.ts";
import { type VolumeRow, VolumeRows } from "#volumes/volume-rows.ts";
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
  readonly #onEvent: VolumeOptions["onEvent"];
  readonly #logger: Logger | undefined;
  readonly #measuring = new StorageWorkers(1);
  readonly #users: VolumeUsers;
  /** Volumes that are being filled: when the last who wants that is done. */
  readonly #filling = new Map<string, Promise<void>>();
  /** Creations and removals of one name wait for each other. */
  readonly #busy = new Map<string, Promise<unknown>>();
  #pruning = false;

  constructor({ database, dataRoot, owner, onEvent, logger, plugins }: VolumeOptions) {
    this.#rows = new VolumeRows(database);
    this.#local = new LocalDriver({
      dataRoot,
      owner: owner ?? { uid: 0, gid: 0 },
      optionsOf: (name) => this.#rows.get(name)?.options ?? {},
    });
    this.#drivers = new VolumeDrivers(
      this.#local,
      new VolumePlugins(plugins ?? new Plugins({ sockets: [], specs: [] })),
    );
    this.#users = new VolumeUsers(this.#drivers, onEvent, logger);
    this.#onEvent = onEvent;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    const known = this.#rows.all().filter(({ driver }) => driver === "local");
    const { found, removed } = await this.#local.start(new Set(known.map(({ name }) => name)));
    for (const name of removed) this.#rows.delete(name);
    // Put there by hand, or its row was lost.
    for (const name of found) {
      if (this.#rows.get(name) === undefined)
        this.#rows.insert({ name, labels: {}, options: {}, driver: "local" });
    }
  }

  async create(request: VolumeCreateRequest): Promise<Volume> {
    const name = request.Name || randomBytes(32).toString("hex");
    return await this.#exclusively(name, async () => {
      const row = await this.#existing(name, request.Driver ?? "", request.Name !== undefined);
      if (row !== undefined) return await this.#describe(row, "create");
      const labels = request.Name ? request.Labels : { [ANONYMOUS_LABEL]: "", ...request.Labels };
      return await this.#make(name, request.Driver || "local", labels ?? {}, request.DriverOpts ?? {});
    });
  }

  /** The volume of a name, if it is the wanted driver's (empty: anybody's). Throws "conflict". */
  async #existing(name: string, wanted: string, lookAround: boolean): Promise<VolumeRow | undefined> {
    const row = this.#rows.get(name);
    if (row === undefined) return wanted === "" && lookAround ? await this.#adoptForeign(name) : undefined;
    const driver = row.driver;
    const conflict = (why: string) =>
      new BerthError("conflict", `create ${name}: ${why}: volume name must be unique`, {
        operation: "create volume",
        object: name,
        hint: "choose another name, or remove that volume first",
      });
    if (wanted !== "" && wanted !== driver) await this.#drivers.get(wanted, `create ${name}`);
    if (driver !== "local") {
      const owner = await this.#drivers.get(driver, `create ${name}`);
      const found = await asking(`create ${name}`, name, () => owner.get(name));
      if (found === undefined && this.#rows.references(name).length > 0) {
        throw conflict(
          `found references to volume '${name}' in driver '${driver}' but the volume was not found in the driver -- you may need to remove containers referencing this volume or force remove the volume to re-create it`,
        );
      }
      if (found === undefined) {
        this.#rows.delete(name);
        return undefined;
      }
    }
    if (wanted !== "" && wanted !== driver) throw conflict(`driver '${driver}' already has volume '${name}'`);
    return row;
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
    return await this.#describe(row, "create");
  }

  async inspect(name: string): Promise<Volume> {
    const row = this.#rows.get(name) ?? (await this.#adoptForeign(name));
    if (row === undefined) throw notFound(name);
    return await this.#describe(row, "get");
  }

  async list(filters: Record<string, string[]>): Promise<{ Volumes: Volume[]; Warnings: string[] }> {
    const passes = volumeFilter(filters, (name) => this.#rows.references(name).length > 0);
    const rows = this.#rows.all();
    const volumes = rows.filter(({ driver }) => driver === "local").map((row) => this.#plain(row));
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
    await this.#exclusively(name, async () => {
      const row = this.#rows.get(name) ?? (await this.#adoptForeign(name));
      if (row === undefined) {
        if (force) return;
        throw notFound(name);
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
      this.#rows.delete(name);
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
      return await this.#prune(filters);
    } finally {
      this.#pruning = false;
    }
  }

  async #prune(
    filters: Record<string, string[]>,
  ): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
    const { wanted, anonymousOnly } = pruneFilter(filters);
    const deleted: string[] = [];
    let reclaimed = 0;
    for (const row of this.#rows.all()) {
      if (row.driver !== "local" || Object.keys(row.options).length > 0) continue;
      if (this.#rows.references(row.name).length > 0 || !wanted(this.#plain(row))) continue;
      if (anonymousOnly && row.labels[ANONYMOUS_LABEL] === undefined) continue;
      try {
        const bytes = await this.#size(row.name);
        await this.remove(row.name, false);
        deleted.push(row.name);
        reclaimed += bytes;
      } catch (error) {
        // Somebody began to use it, or removed it, while it was measured.
        if (isBerthError(error, "conflict") || isBerthError(error, "not-found")) continue;
        throw error;
      }
    }
    this.#onEvent("prune", "", { reclaimed: String(reclaimed) });
    return { VolumesDeleted: deleted, SpaceReclaimed: reclaimed };
  }

  async usage(name: string): Promise<{ Size: number; RefCount: number }> {
    this.#mustExist(name);
    return { Size: await this.#size(name), RefCount: this.#rows.references(name).length };
  }

  reference(name: string, containerId: string): void {
    this.#mustExist(name);
    this.#rows.reference(name, containerId);
  }

  dereference(name: string, containerId: string): void {
    this.#rows.dereference(name, containerId);
  }

  async mount(name: string, user: VolumeUser): Promise<string> {
    return await this.#users.mount(this.#mustExist(name), user);
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
  async populate(...filling: Parameters<VolumeService["populate"]>): Promise<void> {
    const [name] = filling;
    const before = this.#filling.get(name) ?? Promise.resolve();
    const done = before.then(
      () => this.#populate(...filling),
      () => this.#populate(...filling),
    );
    this.#filling.set(name, done);
    try {
      await done;
    } finally {
      if (this.#filling.get(name) === done) this.#filling.delete(name);
    }
  }

  async #populate(...[name, user, layers, path]: Parameters<VolumeService["populate"]>): Promise<void> {
    const row = this.#mustExist(name);
    const shared = () => this.#rows.references(name).length > 1;
    const mine = { ...user, quiet: true };
    await populateVolume(name, path, {
      local: row.driver === "local" ? this.#local : undefined,
      shared,
      layers,
      mount: () => this.mount(name, mine),
      unmount: () => this.unmount(name, mine),
    });
  }

  drivers(): string[] {
    return this.#drivers.names;
  }

  /** A volume that a plugin has and nobody told us of. It has a row from then on. */
  async #adoptForeign(name: string): Promise<VolumeRow | undefined> {
    const driver = await this.#drivers.findForeign(name);
    return driver === undefined ? undefined : this.#rows.insert({ name, labels: {}, options: {}, driver });
  }

  #mustExist(name: string): VolumeRow {
    const row = this.#rows.get(name);
    if (row === undefined) throw notFound(name);
    return row;
  }

  async #size(name: string): Promise<number> {
    return (await this.#measuring.run({ kind: "measure", path: this.#local.path(name) })) as number;
  }

  async #describe(row: VolumeRow, operation: string): Promise<Volume> {
    if (row.driver === "local") return this.#plain(row);
    const what = `${operation} ${row.name}`;
    const driver = await this.#drivers.get(row.driver, what);
    const found = await asking(what, row.name, () => driver.get(row.name));
    if (found === undefined) throw notFound(row.name);
    return describeVolume(row, found, await driver.scope());
  }

  /** A volume of the local driver. */
  #plain(row: VolumeRow): Volume {
    return { ...describeVolume(row, undefined, "local"), Mountpoint: this.#local.path(row.name) };
  }

  async #exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    const earlier = this.#busy.get(name) ?? Promise.resolve();
    const mine = earlier.then(work, work);
    const settled = mine.catch(() => undefined);
    this.#busy.set(name, settled);
    try {
      return await mine;
    } finally {
      if (this.#busy.get(name) === settled) this.#busy.delete(name);
    }
  }
}

function notFound(name: string): BerthError {
  return new BerthError("not-found", `get ${name}: no such volume`, {
    operation: "look up volume",
    object: name,
  });
}
