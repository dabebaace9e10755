/** An address plugin: its IpamDriver methods, their answers checked. */
import type { IpamConfig } from "#api-types/network.ts";
import { askPlugin } from "#networks/plugins/network-plugin.ts";
import { PluginError } from "#plugins/plugin-client.ts";
import type { Plugins } from "#plugins/plugins.ts";

/** How long it may take, ms: for what it has to do, and where nobody waits for it. */
const WORK = 60_000;
const PARTING = 15_000;

/** Docker's name for what an address is for, and the only such use there is. */
const ADDRESS_TYPE = "RequestAddressType";
const GATEWAY = "com.docker.network.gateway";
const MAC = "com.docker.network.endpoint.macaddress";

export interface GivenPool {
  id: string;
  addressSpace: string;
  /** "10.1.0.0/24" */
  pool: string;
  /** With its length; "" for none given. */
  gateway: string;
  /** What the user asked of it. */
  asked?: IpamConfig;
}

export interface IpamCapabilities {
  /** With every address the MAC address of its interface. */
  needsMac: boolean;
  /** What it has given, whenever the daemon starts: it remembers nothing. */
  wantsReplay: boolean;
}

export class IpamPlugin {
  readonly name: string;
  readonly #plugins: Plugins;
  #capabilities: IpamCapabilities | undefined;

  constructor(name: string, plugins: Plugins) {
    this.name = name;
    this.#plugins = plugins;
  }

  /** What it wants to be told; a plugin need not have the method. */
  async capabilities(): Promise<IpamCapabilities> {
    this.#capabilities ??= await this.#ask();
    return this.#capabilities;
  }

  async #ask(): Promise<IpamCapabilities> {
    try {
      const answer = await this.#call("GetCapabilities", {}, WORK);
      return {
        needsMac: answer.RequiresMACAddress === true,
        wantsReplay: answer.RequiresRequestReplay === true,
      };
    } catch (error) {
      if (error instanceof PluginError && error.failure === "answered")
        return { needsMac: false, wantsReplay: false };
      throw error;
    }
  }

  async addressSpace(): Promise<string> {
    const { LocalDefaultAddressSpace } = await this.#call("GetDefaultAddressSpaces", {}, WORK);
    return typeof LocalDefaultAddressSpace === "string" ? LocalDefaultAddressSpace : "";
  }

  /** `subnet` and `range` are "" for any. */
  async requestPool(wanted: {
    addressSpace: string;
    subnet: string;
    range: string;
    options: Record<string, string>;
    v6: boolean;
  }): Promise<GivenPool> {
    const { PoolID, Pool, Data } = await this.#call(
      "RequestPool",
      {
        AddressSpace: wanted.addressSpace,
        Pool: wanted.subnet,
        SubPool: wanted.range,
        Options: wanted.options,
        V6: wanted.v6,
      },
      WORK,
    );
    if (typeof PoolID !== "string" || PoolID === "" || typeof Pool !== "string")
      throw new PluginError(`the plugin ${this.name} gave no pool`, "answered");
    const gateway = (Data as Record<string, unknown> | undefined)?.[GATEWAY];
    return {
      id: PoolID,
      addressSpace: wanted.addressSpace,
      pool: Pool,
      gateway: typeof gateway === "string" ? gateway : "",
    };
  }

  async releasePool(pool: string): Promise<void> {
    await this.#call("ReleasePool", { PoolID: pool }, PARTING, 0);
  }

  /** `address` is "" for any; the answer has its length: "10.1.0.2/24". */
  async requestAddress(pool: string, address: string, use: { gateway?: boolean; mac?: string } = {}) {
    const options = {
      ...(use.gateway && { [ADDRESS_TYPE]: GATEWAY }),
      ...(use.mac && { [MAC]: use.mac }),
    };
    const { Address } = await this.#call(
      "RequestAddress",
      { PoolID: pool, Address: address, Options: options },
      WORK,
    );
    if (typeof Address === "string" && Address !== "") return Address;
    throw new PluginError(`the plugin ${this.name} gave no address`, "answered");
  }

  async releaseAddress(pool: string, address: string): Promise<void> {
    await this.#call("ReleaseAddress", { PoolID: pool, Address: address }, PARTING, 0);
  }

  #call(method: string, argument: unknown, timeout: number, patience?: number) {
    return askPlugin(
      this.#plugins,
      { name: this.name, kind: "IpamDriver", method, argument, timeout },
      patience,
    );
  }
}
