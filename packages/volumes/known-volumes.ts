/**
 * Which volume a name stands for, and what is told of it: rows know the names, drivers what there is.
 *
 * A plugin may have volumes that nobody told us of, and lose some that have a row; both come out here.
 */
import type { Volume } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import type { LocalDriver } from "#volumes/local-driver.ts";
import { asking, describeVolume, type VolumeDrivers } from "#volumes/volume-drivers.ts";
import type { VolumeRow, VolumeRows } from "#volumes/volume-rows.ts";

export class KnownVolumes {
  readonly #rows: VolumeRows;
  readonly #local: LocalDriver;
  readonly #drivers: VolumeDrivers;

  constructor(rows: VolumeRows, local: LocalDriver, drivers: VolumeDrivers) {
    this.#rows = rows;
    this.#local = local;
    this.#drivers = drivers;
  }

  /** Throws "not-found" for a volume without a row. */
  get(name: string): VolumeRow {
    const row = this.#rows.get(name);
    if (row === undefined) throw noSuchVolume(name);
    return row;
  }

  /** Asks plugins, too. Undefined for a volume that nobody has. */
  async find(name: string): Promise<VolumeRow | undefined> {
    return this.#rows.get(name) ?? (await this.#adoptForeign(name));
  }

  /** A volume that a plugin has and nobody told us of. It has a row from then on. */
  async #adoptForeign(name: string): Promise<VolumeRow | undefined> {
    const driver = await this.#drivers.findForeign(name);
    return driver === undefined ? undefined : this.#rows.insert({ name, labels: {}, options: {}, driver });
  }

  /**
   * The volume that a request to create one gets, if it is the wanted driver's (empty: anybody's); undefined where there is
   * none yet. `lookAround`: plugins may have one, too. Throws "conflict".
   */
  async findForCreate(name: string, wanted: string, lookAround: boolean): Promise<VolumeRow | undefined> {
    const row = this.#rows.get(name);
    if (row === undefined) return wanted === "" && lookAround ? await this.#adoptForeign(name) : undefined;
    const { driver } = row;
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

  /** Asks the volume's driver. Throws "not-found" where that has it no more. */
  async describe(row: VolumeRow, operation: string): Promise<Volume> {
    if (row.driver === "local") return this.describeLocal(row);
    const what = `${operation} ${row.name}`;
    const driver = await this.#drivers.get(row.driver, what);
    const found = await asking(what, row.name, () => driver.get(row.name));
    if (found === undefined) throw noSuchVolume(row.name);
    return describeVolume(row, found, await driver.scope());
  }

  /** A volume of the local driver. */
  describeLocal(row: VolumeRow): Volume {
    return { ...describeVolume(row, undefined, "local"), Mountpoint: this.#local.path(row.name) };
  }
}

export function noSuchVolume(name: string): BerthError {
  return new BerthError("not-found", `get ${name}: no such volume`, {
    operation: "look up volume",
    object: name,
  });
}
