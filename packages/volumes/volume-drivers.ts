/**
 * The drivers of volumes by name, and what is asked of all plugins together. A plugin's failures become everybody's
 * errors here.
 */
import type { Volume } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import { PluginError } from "#plugins/plugin-client.ts";
import type { LocalDriver } from "#volumes/local-driver.ts";
import type { PluginDriver } from "#volumes/plugins/plugin-driver.ts";
import type { VolumePlugins } from "#volumes/plugins/volume-plugins.ts";
import type { DriverVolume, VolumeDriver } from "#volumes/volume-driver.ts";
import type { VolumeRow } from "#volumes/volume-rows.ts";

/** How long each plugin may take for a list of all volumes, ms. */
const LIST_TIMEOUT = 5_000;

export class VolumeDrivers {
  readonly #local: LocalDriver;
  readonly #plugins: VolumePlugins;

  constructor(local: LocalDriver, plugins: VolumePlugins) {
    this.#local = local;
    this.#plugins = plugins;
  }

  get names(): string[] {
    return ["local", ...this.#plugins.names];
  }

  /** Throws "not-found" with Docker's text for a plugin that isn't there, "internal" for one that can't be used. */
  async get(name: string, operation: string): Promise<VolumeDriver> {
    if (name === "local") return this.#local;
    const refuse = (code: "not-found" | "internal", why: string, hint: string) =>
      new BerthError(code, `${operation}: error looking up volume plugin ${name}: ${why}`, {
        operation,
        object: name,
        hint,
      });
    try {
      const driver = await this.#plugins.get(name);
      if (driver !== undefined) return driver;
    } catch (cause) {
      throw refuse(
        "internal",
        cause instanceof Error ? cause.message : String(cause),
        "Is the plugin running?",
      );
    }
    throw refuse(
      "not-found",
      `plugin ${JSON.stringify(name)} not found`,
      "the driver there always is, is local",
    );
  }

  /** Name of the plugin that has a volume of this name; undefined if none that answers does. */
  async findForeign(name: string): Promise<string | undefined> {
    const { drivers } = await this.#plugins.all();
    for (const driver of drivers) {
      const found = await driver.get(name).catch(() => undefined);
      if (found !== undefined) return driver.name;
    }
    return undefined;
  }

  /** What plugins have, and of `rows` what those that can't be asked had. `taken`: names that are somebody's already. */
  async listForeign(
    rows: readonly VolumeRow[],
    taken: ReadonlySet<string>,
  ): Promise<{ volumes: Volume[]; warnings: string[] }> {
    const { drivers, failures } = await this.#plugins.all();
    const warnings = failures.map(({ name, error }) => `list ${name}: ${error.message}`);
    const silent = new Set(rows.map(({ driver }) => driver));
    const volumes: Volume[] = [];
    const ask = async (driver: PluginDriver) => {
      try {
        const listed = await driver.list(0, LIST_TIMEOUT);
        const scope = await driver.scope();
        silent.delete(driver.name);
        for (const found of listed) {
          const row = rows.find(({ name }) => name === found.name);
          if (row === undefined ? taken.has(found.name) : row.driver !== driver.name) continue;
          volumes.push(describeVolume(row ?? unnamed(found, driver.name), found, scope));
        }
      } catch (error) {
        warnings.push(`list ${driver.name}: ${error instanceof Error ? error.message : error}`);
      }
    };
    await Promise.all(drivers.map(ask));
    for (const row of rows) if (silent.has(row.driver)) volumes.push(describeVolume(row, undefined, "local"));
    return { volumes, warnings };
  }
}

/** Asks a driver; what a plugin answers for a failure is told as everybody else's errors are. */
export async function asking<T>(operation: string, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof PluginError)) throw cause;
    throw new BerthError("internal", `${operation}: ${cause.message}`, { operation, object: name, cause });
  }
}

function unnamed(found: DriverVolume, driver: string): VolumeRow {
  return { name: found.name, created: "", labels: {}, options: {}, driver };
}

export function describeVolume(
  row: VolumeRow,
  found: DriverVolume | undefined,
  scope: Volume["Scope"],
): Volume {
  const { name, driver, labels, options } = row;
  return {
    Name: name,
    Driver: driver,
    Mountpoint: found?.mountpoint ?? "",
    CreatedAt: found?.createdAt ?? row.created,
    ...(found?.status === undefined ? {} : { Status: found.status }),
    Labels: Object.keys(labels).length > 0 ? labels : null,
    Scope: scope,
    Options: Object.keys(options).length > 0 ? options : null,
  };
}
