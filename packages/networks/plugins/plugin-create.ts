/**
 * What plugins have to say before a network is made: whether the driver is one, and the pools where a plugin keeps them.
 *
 * Turns a request with plugins into one that the daemon's own checks understand, and completes the record they make.
 */
import type { IpamConfig, NetworkCreateRequest } from "#api-types/network.ts";
import { parseCidr } from "#networks/ipam/prefix.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { type GivenPool, IpamPlugin } from "#networks/plugins/ipam-plugin.ts";
import { NetworkPlugin, told } from "#networks/plugins/network-plugin.ts";
import type { Plugins } from "#plugins/plugins.ts";

/** Drivers of networks, and of addresses, that are the daemon's own. "null" gives no addresses at all. */
const OWN_DRIVERS = new Set(["", "bridge", "host", "null", "macvlan", "ipvlan", "overlay"]);
const OWN_IPAM = new Set(["", "default", "null"]);
const NO_ADDRESSES = "null";

export interface PreparedCreate {
  /** The same request with what plugins have said. */
  request: NetworkCreateRequest;
  /** Writes into the record what only plugins know. */
  complete(record: NetworkRecord): void;
  /** Gives back what plugins have given: there will be no network. Never rejects. */
  undo(): Promise<void>;
}

/** Is a driver of networks the daemon's own? */
export function isOwnDriver(driver: string): boolean {
  return OWN_DRIVERS.has(driver);
}

/** Throws what plugins say, "not-found" for one that is not there. */
export async function prepareCreate(
  request: NetworkCreateRequest,
  plugins: Plugins,
): Promise<PreparedCreate> {
  const name = request.Name ?? "";
  const driver = request.Driver ?? "";
  const ipamDriver = request.IPAM?.Driver ?? "";
  const foreign = !isOwnDriver(driver);
  try {
    const scope = foreign ? await new NetworkPlugin(driver, plugins).scope() : undefined;
    const ipam = OWN_IPAM.has(ipamDriver) ? undefined : new IpamPlugin(ipamDriver, plugins);
    const pools = ipam === undefined ? [] : await requestPools(ipam, request);
    const withoutAddresses = foreign && ipamDriver === NO_ADDRESSES;
    return {
      request: {
        ...request,
        // What a plugin makes is not a bridge of ours, but is named and addressed as one.
        ...(foreign && { Driver: "bridge", Options: {} }),
        ...((ipam !== undefined || withoutAddresses) && {
          IPAM: {
            ...request.IPAM,
            Driver: "default",
            ...(ipam !== undefined && { Config: pools.map(asConfig) }),
          },
        }),
      },
      complete: (record) => {
        const { config } = record;
        if (ipam !== undefined) completeAddresses(config, ipam.name, pools, request);
        if (!foreign) return;
        record.driver = driver;
        delete config.bridge;
        delete config.foundBridge;
        config.options = request.Options ?? {};
        if (scope !== undefined) config.scope = scope;
        if (!withoutAddresses) return;
        config.ipamDriver = NO_ADDRESSES;
        delete config.subnet;
        delete config.gateway;
        delete config.ipv6;
      },
      undo: async () => {
        for (const { id } of pools) await ipam?.releasePool(id).catch(() => {});
      },
    };
  } catch (error) {
    throw told(error, "create network", name);
  }
}

function completeAddresses(
  config: NetworkRecord["config"],
  driver: string,
  pools: readonly GivenPool[],
  request: NetworkCreateRequest,
): void {
  config.ipamDriver = driver;
  const of = (six: boolean) => pools.find(({ pool }) => pool.includes(":") === six);
  const [ipv4, ipv6] = [of(false), of(true)];
  config.ipamPools = { ...(ipv4 && { ipv4: ipv4.id }), ...(ipv6 && { ipv6: ipv6.id }) };
  config.ipamSpace = (ipv4 ?? ipv6)?.addressSpace ?? "";
  // Whoever named no subnet cannot ask for an address by number.
  const named = request.IPAM?.Config ?? [];
  config.chosenSubnet = named.some(({ Subnet = "" }) => Subnet !== "" && !Subnet.includes(":"));
  config.chosenSubnet6 = named.some(({ Subnet = "" }) => Subnet.includes(":"));
}

/** One of each family, as with bridges; with the gateway, and what else is not to be given to anybody. */
async function requestPools(plugin: IpamPlugin, request: NetworkCreateRequest): Promise<GivenPool[]> {
  const addressSpace = await plugin.addressSpace();
  const named = request.IPAM?.Config ?? [];
  const of = (six: boolean) => named.find(({ Subnet = "" }) => Subnet.includes(":") === six) ?? {};
  const wanted = [of(false), ...(request.EnableIPv6 ? [of(true)] : [])];
  const pools: GivenPool[] = [];
  try {
    for (const [index, asked] of wanted.entries()) {
      const { Subnet: subnet = "", IPRange: range = "", Gateway: gateway = "" } = asked;
      const options = request.IPAM?.Options ?? {};
      const pool = await plugin.requestPool({ addressSpace, subnet, range, options, v6: index === 1 });
      pools.push(pool);
      if (pool.gateway === "" || gateway !== "") {
        pool.gateway = await plugin.requestAddress(pool.id, gateway, { gateway: true });
      }
      for (const address of Object.values(asked.AuxiliaryAddresses ?? {}))
        await plugin.requestAddress(pool.id, address);
      pool.asked = asked;
    }
    return pools;
  } catch (error) {
    for (const { id } of pools) await plugin.releasePool(id).catch(() => {});
    throw error;
  }
}

function asConfig({ pool, gateway, asked = {} }: GivenPool): IpamConfig {
  // A plugin may answer with an address of the pool for the pool.
  const prefix = parseCidr(pool)?.prefix;
  return {
    ...asked,
    Subnet: prefix === undefined ? pool : asked.Subnet || pool,
    Gateway: gateway.split("/")[0] ?? "",
  };
}
