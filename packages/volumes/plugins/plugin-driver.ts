/** A volume plugin as a driver: its VolumeDriver methods, their answers checked. */
import { callPlugin, PluginError } from "#plugins/plugin-client.ts";
import type { PluginAddress } from "#plugins/plugin-discovery.ts";
import type { DriverVolume, VolumeDriver } from "#volumes/volume-driver.ts";

/** How long a plugin may take, ms: for what it knows, and for what it has to do (dockerd's values). */
const KNOW = 60_000;
const WORK = 120_000;

export class PluginDriver implements VolumeDriver {
  readonly name: string;
  readonly #plugin: PluginAddress;
  readonly #patience: number;
  #scope: "local" | "global" | undefined;

  /** `patience`: how long a plugin that has gone is waited for, ms. */
  constructor(plugin: PluginAddress, patience: number) {
    this.name = plugin.name;
    this.#plugin = plugin;
    this.#patience = patience;
  }

  async scope(): Promise<"local" | "global"> {
    if (this.#scope !== undefined) return this.#scope;
    try {
      const { Capabilities } = await this.#call("Capabilities", {}, KNOW, 0);
      const scope = (Capabilities as { Scope?: unknown } | undefined)?.Scope;
      this.#scope = String(scope).toLowerCase() === "global" ? "global" : "local";
    } catch {
      // A plugin need not have the method.
      return "local";
    }
    return this.#scope;
  }

  async create(name: string, options: Record<string, string>): Promise<void> {
    await this.#call("Create", { Name: name, Opts: options }, WORK);
  }

  async get(name: string): Promise<DriverVolume | undefined> {
    try {
      const { Volume } = await this.#call("Get", { Name: name }, KNOW);
      return describe(Volume, name);
    } catch (error) {
      // There is no other way for a plugin to say that it has none.
      if (error instanceof PluginError && error.failure === "answered") return undefined;
      throw error;
    }
  }

  async list(patience = 0, timeout = KNOW): Promise<DriverVolume[]> {
    const { Volumes } = await this.#call("List", {}, timeout, patience);
    return (Array.isArray(Volumes) ? Volumes : []).flatMap((volume) => describe(volume, "") ?? []);
  }

  async remove(name: string): Promise<void> {
    await this.#call("Remove", { Name: name }, WORK);
  }

  async mount(name: string, user: string): Promise<string> {
    const { Mountpoint } = await this.#call("Mount", { Name: name, ID: user }, WORK);
    if (typeof Mountpoint === "string" && Mountpoint.startsWith("/")) return Mountpoint;
    // Plugins may tell it only when they are asked for it.
    const { Mountpoint: path } = await this.#call("Path", { Name: name }, KNOW);
    if (typeof path === "string" && path.startsWith("/")) return path;
    throw new PluginError(`the plugin ${this.name} did not say where it mounted ${name}`, "answered");
  }

  async unmount(name: string, user: string): Promise<void> {
    await this.#call("Unmount", { Name: name, ID: user }, WORK);
  }

  async #call(
    method: string,
    argument: unknown,
    timeout: number,
    patience = this.#patience,
  ): Promise<Record<string, unknown>> {
    return await callPlugin(this.#plugin, `VolumeDriver.${method}`, argument, { timeout, patience });
  }
}

/** Undefined for what is no volume. */
function describe(answer: unknown, name: string): DriverVolume | undefined {
  if (typeof answer !== "object" || answer === null) return undefined;
  const { Name = name, Mountpoint = "", CreatedAt, Status } = answer as Record<string, unknown>;
  if (typeof Name !== "string" || Name === "") return undefined;
  return {
    name: Name,
    mountpoint: typeof Mountpoint === "string" ? Mountpoint : "",
    ...(typeof CreatedAt === "string" && CreatedAt !== "" ? { createdAt: CreatedAt } : {}),
    ...(typeof Status === "object" && Status !== null ? { status: Status as Record<string, unknown> } : {}),
  };
}
