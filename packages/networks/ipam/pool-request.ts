/**
 * The address pools a network is asked for: checked, and completed with what was left out. Pure.
 *
 * All that is wrong is told at once, each in a line of its own with Docker's text.
 */
import type { IpamConfig } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import {
  type Address,
  contains,
  containsPrefix,
  type Family,
  formatAddress,
  formatPrefix,
  type Prefix,
  parseAddress,
  parseCidr,
} from "#networks/ipam/prefix.ts";

/** One pool, as far as the user chose it. */
export interface WantedPool {
  subnet: Prefix;
  range: Prefix | undefined;
  gateway: Address | undefined;
  reserved: Record<string, string>;
}

export interface WantedPools {
  ipv4: WantedPool[];
  ipv6: WantedPool[];
}

/** Throws "invalid" for what cannot be. */
export function wantedPools(
  configs: readonly IpamConfig[],
  enabled: { ipv4: boolean; ipv6: boolean },
): WantedPools {
  const problems: string[] = [];
  const pools = configs.flatMap((config) => {
    const pool = wantedPool(config, enabled, problems);
    return pool === undefined ? [] : [pool];
  });
  if (problems.length > 0) throw invalid(`invalid network config:\n${problems.join("\n")}`);
  const ofFamily = (family: Family) => pools.filter((pool) => pool.subnet.family === family);
  return { ipv4: ofFamily(4), ipv6: ofFamily(6) };
}

function wantedPool(
  config: IpamConfig,
  enabled: { ipv4: boolean; ipv6: boolean },
  problems: string[],
): WantedPool | undefined {
  const { Subnet = "", IPRange = "", Gateway = "" } = config;
  const auxiliary = Object.entries(config.AuxiliaryAddresses ?? {});
  if (Subnet === "") {
    if (IPRange !== "" || Gateway !== "" || auxiliary.length > 0) {
      problems.push("invalid subnet : invalid CIDR block notation");
    }
    return undefined;
  }
  const subnet = network(Subnet, "subnet", problems);
  if (subnet === undefined) return undefined;
  if (!enabled[`ipv${subnet.family}`]) {
    problems.push(`invalid subnet ${Subnet}: IPv${subnet.family} has not been enabled for this network`);
  }
  return {
    subnet,
    range: IPRange === "" ? undefined : rangeOf(IPRange, Subnet, subnet, problems),
    gateway: Gateway === "" ? undefined : member(Gateway, "gateway", Subnet, subnet, problems),
    reserved: Object.fromEntries(
      auxiliary.flatMap(([name, text]) => {
        const address = member(text, "auxiliary address", Subnet, subnet, problems);
        return address === undefined ? [] : [[name, formatAddress(address)] as const];
      }),
    ),
  };
}

function network(text: string, what: string, problems: string[]): Prefix | undefined {
  const parsed = parseCidr(text);
  if (parsed === undefined) {
    problems.push(`invalid ${what} ${text}: invalid CIDR block notation`);
    return undefined;
  }
  if (parsed.address.value !== parsed.prefix.first) {
    problems.push(`invalid ${what} ${text}: it should be ${formatPrefix(parsed.prefix)}`);
    return undefined;
  }
  return parsed.prefix;
}

function rangeOf(text: string, subnetText: string, subnet: Prefix, problems: string[]): Prefix | undefined {
  const range = network(text, "ip-range", problems);
  if (range === undefined) return undefined;
  const problem =
    range.family !== subnet.family
      ? `parent subnet is an IPv${subnet.family} block`
      : range.length < subnet.length
        ? `CIDR block is bigger than its parent subnet ${subnetText}`
        : containsPrefix(subnet, range)
          ? undefined
          : `parent subnet ${subnetText} doesn't contain ip-range`;
  if (problem !== undefined) problems.push(`invalid ip-range ${text}: ${problem}`);
  return range;
}

function member(
  text: string,
  what: string,
  subnetText: string,
  subnet: Prefix,
  problems: string[],
): Address | undefined {
  const address = parseAddress(text);
  const problem =
    address === undefined
      ? "invalid address"
      : address.family !== subnet.family
        ? `parent subnet is an IPv${subnet.family} block`
        : contains(subnet, address)
          ? undefined
          : `parent subnet ${subnetText} doesn't contain this address`;
  if (problem !== undefined) problems.push(`invalid ${what} ${text}: ${problem}`);
  return address;
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "create network" });
}
