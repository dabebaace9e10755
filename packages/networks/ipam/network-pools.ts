/**
 * The address pools of a network as it was written down, and addresses out of several of them. A bridge has one pool of
 * each family at most; networks on a wire of the host's may have more. Reads the record; leases are the caller's.
 */
import type { AddressLeases } from "#networks/ipam/address-leases.ts";
import {
  type Address,
  contains,
  type Family,
  formatAddress,
  type Prefix,
  parseAddress,
  parseCidr,
} from "#networks/ipam/prefix.ts";
import type { NetworkConfig, NetworkRecord, RecordedPool } from "#networks/network-record.ts";

export interface Pool {
  subnet: Prefix;
  /** Where addresses come from: the subnet or a part of it. */
  range: Prefix;
  /** Undefined where nothing leads out. */
  gateway: Address | undefined;
  /** Addresses that are others'. */
  reserved: readonly Address[];
}

/** Every pool of a network, as it is written down, the first of IPv4 first. */
export function recordedPools(config: NetworkConfig): RecordedPool[] {
  const { subnet, gateway, range, reserved, ipv6, morePools = [] } = config;
  const first =
    subnet === undefined
      ? []
      : [
          {
            subnet,
            ...(gateway !== undefined && { gateway }),
            ...(range !== undefined && { range }),
            ...(reserved !== undefined && { reserved }),
          },
        ];
  const all = [...first, ...(ipv6 === undefined ? [] : [ipv6]), ...morePools];
  return [...all.filter((pool) => !isIpv6(pool)), ...all.filter(isIpv6)];
}

function isIpv6({ subnet }: RecordedPool): boolean {
  return subnet.includes(":");
}

/** The pools of one family, in the order in which addresses are taken from them. */
export function poolsOf(config: NetworkConfig, family: Family): Pool[] {
  return recordedPools(config).flatMap((recorded) => {
    const subnet = parseCidr(recorded.subnet)?.prefix;
    if (subnet?.family !== family) return [];
    return [
      {
        subnet,
        range: parseCidr(recorded.range ?? "")?.prefix ?? subnet,
        gateway: parseAddress(recorded.gateway ?? ""),
        reserved: Object.values(recorded.reserved ?? {}).flatMap((text) => parseAddress(text) ?? []),
      },
    ];
  });
}

/**
 * An address out of the first pool that has one, or the wanted one out of the pool it lies in; undefined without pools.
 * Throws as `AddressLeases.take` does, the last pool's refusal if none has an address left.
 */
export function takeAddress(
  leases: AddressLeases,
  network: Pick<NetworkRecord, "id" | "name">,
  pools: readonly Pool[],
  holder: string,
  wanted: Address | undefined,
): { address: Address; pool: Pool } | undefined {
  const home = wanted && pools.find(({ subnet }) => contains(subnet, wanted));
  const candidates = home === undefined ? pools : [home];
  for (const [position, pool] of candidates.entries()) {
    const { subnet, range, gateway, reserved } = pool;
    const addresses = { networkId: network.id, networkName: network.name, subnet, range, gateway };
    try {
      const address = leases.take({ ...addresses, auxiliary: reserved }, holder, wanted);
      return { address, pool };
    } catch (error) {
      if (position === candidates.length - 1) throw error;
    }
  }
  return undefined;
}

/** The address a user asked for; undefined for any. */
export function wish(text: string | undefined): Address | undefined {
  return text ? parseAddress(text) : undefined;
}

/** "" without a gateway, as inspect shows it. */
export function gatewayText(pool: Pool | undefined): string {
  return pool?.gateway === undefined ? "" : formatAddress(pool.gateway);
}
