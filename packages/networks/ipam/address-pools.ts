/**
 * Which subnet a network gets that asks for none. Pure: what the host uses is handed in.
 *
 * The predefined pools are Docker's (docs: "Default address pools"): 172.17/16 to 172.31/16, then 192.168/16 in
 * pieces of /20.
 */
import { BerthError } from "#errors/errors.ts";
import { overlaps, type Prefix, parseCidr, subPrefixes } from "#networks/ipam/prefix.ts";

export interface AddressPool {
  /** "172.17.0.0/16" */
  base: string;
  /** Length of the subnets cut from it. */
  size: number;
}

export const defaultPools: readonly AddressPool[] = [
  ...Array.from({ length: 15 }, (_, index) => ({ base: `172.${17 + index}.0.0/16`, size: 16 })),
  { base: "192.168.0.0/16", size: 20 },
];

/**
 * The first subnet of the pools that overlaps nothing in use. Throws "internal" with Docker's text if there is none,
 * "invalid" for a malformed pool.
 */
export function pickSubnet(pools: readonly AddressPool[], used: readonly Prefix[]): Prefix {
  for (const { base, size } of pools.length > 0 ? pools : defaultPools) {
    const parsed = parseCidr(base);
    if (parsed === undefined || size < parsed.prefix.length) {
      throw new BerthError("invalid", `invalid default address pool: base ${base}, size ${size}`, {
        operation: "pick a subnet",
        object: base,
        hint: "a pool is a subnet like 10.10.0.0/16 and a size no smaller than its prefix length, like 24",
      });
    }
    for (const subnet of subPrefixes(parsed.prefix, size)) {
      if (!used.some((other) => overlaps(subnet, other))) return subnet;
    }
  }
  throw new BerthError("internal", "all predefined address pools have been fully subnetted", {
    operation: "pick a subnet",
    hint: "every pool overlaps a route or an address of this host; choose one with --bip or default-address-pools",
  });
}
