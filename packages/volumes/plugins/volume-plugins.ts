/**
 * The volume plugins there are. Each is found and activated when somebody first asks for it; one that cannot be reached keeps
 * only those waiting who asked for it by name.
 */
import { callPlugin } from "#volumes/plugins/plugin-client.ts";
import { findPlugin, type PluginDirectories, scanPlugins } from "#volumes/plugins/plugin-discovery.ts";
import { PluginDriver } from "#volumes/plugins/plugin-driver.ts";

/** Docker's name for what a volume plugin says it implements. */
const KIND = "VolumeDriver";
/** How long a plugin may take for its activation, ms. */
const ACTIVATION = 30_000;
/** The same where it is only one of many that are asked, ms. */
const GLANCE = 2_000;
/** How long one that could not be reached is left alone by who asks all of them, ms. */
const SULK = 10_000;

export class VolumePlugins {
  readonly #directories: PluginDirectories;
  readonly #patience: number;
  readonly #active = new Map<string, { address: string; driver: PluginDriver }>();
  readonly #activating = new Map<string, Promise<PluginDriver>>();
  readonly #silentUntil = new Map<string, number>();

  /** `patience`: how long one that was asked for by name is tried again, ms. */
  constructor(directories: PluginDirectories, patience: number) {
    this.#directories = directories;
    this.#patience = patience;
  }

  /** Names of those in use since the daemon's start. */
  get names(): string[] {
    return [...this.#active.keys()].sort();
  }

  /** Undefined where there is none of that name. Throws Error if it cannot be used. */
  async get(name: string): Promise<PluginDriver | undefined> {
    const plugin = await findPlugin(name, this.#directories);
    if (plugin === undefined) {
      this.#active.delete(name);
      return undefined;
    }
    const active = this.#active.get(name);
    if (active?.address === plugin.address) return active.driver;
    const under = this.#activating.get(name);
    if (under !== undefined) return await under;
    const activation = this.#activate(plugin, ACTIVATION, this.#patience);
    this.#activating.set(name, activation);
    try {
      return await activation;
    } finally {
      this.#activating.delete(name);
    }
  }

  /** All that answer, and what is the matter with the others. Waits for nobody long. */
  async all(): Promise<{ drivers: PluginDriver[]; failures: { name: string; error: Error }[] }> {
    const drivers: PluginDriver[] = [];
    const failures: { name: string; error: Error }[] = [];
    const look = async (name: string) => {
      const until = this.#silentUntil.get(name) ?? 0;
      try {
        const plugin = await findPlugin(name, this.#directories);
        if (plugin === undefined) return;
        const active = this.#active.get(name);
        if (active?.address === plugin.address) drivers.push(active.driver);
        else if (Date.now() < until) throw new Error(`the plugin ${name} cannot be reached`);
        else drivers.push(await this.#activate(plugin, GLANCE, 0));
      } catch (error) {
        if (Date.now() >= until) this.#silentUntil.set(name, Date.now() + SULK);
        // One that does something else is none of ours.
        if (!(error instanceof OtherPlugin))
          failures.push({ name, error: error instanceof Error ? error : new Error(String(error)) });
      }
    };
    await Promise.all((await scanPlugins(this.#directories)).map(look));
    return { drivers, failures };
  }

  async #activate(
    plugin: NonNullable<Awaited<ReturnType<typeof findPlugin>>>,
    timeout: number,
    patience: number,
  ): Promise<PluginDriver> {
    const { Implements } = await callPlugin(plugin, "Plugin.Activate", {}, { timeout, patience });
    if (!Array.isArray(Implements) || !Implements.includes(KIND)) throw new OtherPlugin();
    const driver = new PluginDriver(plugin, this.#patience);
    this.#active.set(plugin.name, { address: plugin.address, driver });
    this.#silentUntil.delete(plugin.name);
    return driver;
  }
}

class OtherPlugin extends Error {
  constructor() {
    super("plugin does not implement the requested driver");
  }
}
