/** The volume plugins there are, each as a driver. */
import type { PluginAddress } from "#plugins/plugin-discovery.ts";
import type { Plugins } from "#plugins/plugins.ts";
import { PluginDriver } from "#volumes/plugins/plugin-driver.ts";

/** Docker's name for what a volume plugin says it implements. */
const KIND = "VolumeDriver";

export class VolumePlugins {
  readonly #plugins: Plugins;
  readonly #drivers = new WeakMap<PluginAddress, PluginDriver>();

  constructor(plugins: Plugins) {
    this.#plugins = plugins;
  }

  /** Names of those in use since the daemon's start. */
  get names(): string[] {
    return this.#plugins.names(KIND);
  }

  /** Undefined where there is none of that name. Throws Error if it cannot be used. */
  async get(name: string): Promise<PluginDriver | undefined> {
    const plugin = await this.#plugins.get(name, KIND);
    return plugin && this.#driver(plugin);
  }

  /** All that answer, and what is the matter with the others. Waits for nobody long. */
  async all(): Promise<{ drivers: PluginDriver[]; failures: { name: string; error: Error }[] }> {
    const { plugins, failures } = await this.#plugins.all(KIND);
    return { drivers: plugins.map((plugin) => this.#driver(plugin)), failures };
  }

  /** One for each activation. */
  #driver(plugin: PluginAddress): PluginDriver {
    let driver = this.#drivers.get(plugin);
    if (driver === undefined) {
      driver = new PluginDriver(plugin, this.#plugins.patience);
      this.#drivers.set(plugin, driver);
    }
    return driver;
  }
}
