/**
 * The plugins there are, of one kind or another. Each is found and activated when somebody first asks for it; one that
 * cannot be reached keeps only those waiting who asked for it by name.
 *
 * Knows what a plugin says it implements, and nothing of what is asked of it afterwards.
 */
import { callPlugin } from "#plugins/plugin-client.ts";
import {
  findPlugin,
  type PluginAddress,
  type PluginDirectories,
  scanPlugins,
} from "#plugins/plugin-discovery.ts";

/** What a plugin may say it implements (Docker's names). */
export type PluginKind = "VolumeDriver" | "NetworkDriver" | "IpamDriver" | "authz";

/** How long a plugin may take for its activation, ms. */
const ACTIVATION = 30_000;
/** The same where it is only one of many that are asked, ms. */
const GLANCE = 2_000;
/** How long one that could not be reached is left alone by who asks all of them, ms. */
const SULK = 10_000;
/** How long one that was asked for by name and cannot be reached is tried again, ms (dockerd's value). */
const PATIENCE = 30_000;

interface Activated {
  plugin: PluginAddress;
  implements: readonly string[];
}

export class Plugins {
  readonly #directories: PluginDirectories;
  readonly #patience: number;
  readonly #active = new Map<string, Activated>();
  readonly #activating = new Map<string, Promise<Activated>>();
  readonly #silentUntil = new Map<string, number>();

  /** `patience`: how long one that was asked for by name is tried again, ms. */
  constructor(directories: PluginDirectories, patience = PATIENCE) {
    this.#directories = directories;
    this.#patience = patience;
  }

  get patience(): number {
    return this.#patience;
  }

  /** Names of those of a kind in use since the daemon's start. */
  names(kind: PluginKind): string[] {
    return [...this.#active]
      .filter(([, active]) => active.implements.includes(kind))
      .map(([name]) => name)
      .sort();
  }

  /** Undefined where there is none of that name. Throws Error if it cannot be used, or is of other kinds. */
  async get(name: string, kind: PluginKind, patience = this.#patience): Promise<PluginAddress | undefined> {
    const plugin = await findPlugin(name, this.#directories);
    if (plugin === undefined) {
      this.#active.delete(name);
      return undefined;
    }
    const active = this.#active.get(name);
    if (active?.plugin.address === plugin.address) return ofKind(active, kind);
    const under = this.#activating.get(name);
    if (under !== undefined) return ofKind(await under, kind);
    const activation = this.#activate(plugin, ACTIVATION, patience);
    this.#activating.set(name, activation);
    try {
      return ofKind(await activation, kind);
    } finally {
      this.#activating.delete(name);
    }
  }

  /** All of a kind that answer, and what is the matter with the others. Waits for nobody long. */
  async all(
    kind: PluginKind,
  ): Promise<{ plugins: PluginAddress[]; failures: { name: string; error: Error }[] }> {
    const plugins: PluginAddress[] = [];
    const failures: { name: string; error: Error }[] = [];
    const look = async (name: string) => {
      const until = this.#silentUntil.get(name) ?? 0;
      try {
        const plugin = await findPlugin(name, this.#directories);
        if (plugin === undefined) return;
        const active = this.#active.get(name);
        if (active?.plugin.address === plugin.address) plugins.push(ofKind(active, kind));
        else if (Date.now() < until) throw new Error(`the plugin ${name} cannot be reached`);
        else plugins.push(ofKind(await this.#activate(plugin, GLANCE, 0), kind));
      } catch (error) {
        // One that does something else is none of ours.
        if (error instanceof OtherPlugin) return;
        if (Date.now() >= until) this.#silentUntil.set(name, Date.now() + SULK);
        failures.push({ name, error: error instanceof Error ? error : new Error(String(error)) });
      }
    };
    await Promise.all((await scanPlugins(this.#directories)).map(look));
    return { plugins, failures };
  }

  async #activate(plugin: PluginAddress, timeout: number, patience: number): Promise<Activated> {
    const { Implements } = await callPlugin(plugin, "Plugin.Activate", {}, { timeout, patience });
    const activated = { plugin, implements: Array.isArray(Implements) ? Implements.map(String) : [] };
    this.#active.set(plugin.name, activated);
    this.#silentUntil.delete(plugin.name);
    return activated;
  }
}

function ofKind({ plugin, implements: kinds }: Activated, kind: PluginKind): PluginAddress {
  if (!kinds.includes(kind)) throw new OtherPlugin();
  return plugin;
}

class OtherPlugin extends Error {
  constructor() {
    super("plugin does not implement the requested driver");
  }
}
