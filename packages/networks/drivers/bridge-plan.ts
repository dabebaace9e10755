/**
 * Which subnet, gateway and range a bridge has: from the options, what the interface already carries, what the
 * database remembers, or a free pool, in this order. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { pickSubnet } from "#networks/ipam/address-pools.ts";
import { type Pool, poolsOf } from "#networks/ipam/network-pools.ts";
import {
  type Address,
  containsPrefix,
  type Family,
  formatAddress,
  formatPrefix,
  overlaps,
  type Prefix,
  parseAddress,
  parseCidr,
  prefixOf,
} from "#networks/ipam/prefix.ts";
import type { NetworkConfig, RecordedPool } from "#networks/network-record.ts";
import type { NetworkOptions } from "#networks/network-types.ts";

/** One pool a family at most, at least one of both. */
export interface BridgePlan {
  ipv4?: BridgePool;
  ipv6?: BridgePool;
}

/** On a bridge the gateway is the host itself. */
export type BridgePool = Pool & { gateway: Address };

export interface BridgeFacts {
  /** The first IPv4 address of an existing interface of that name. */
  present: { address: Address; prefixLength: number } | undefined;
  /** What the database remembers of the network. */
  remembered: NetworkConfig;
  /** Prefixes in use on the host, without the bridge's own. */
  used: readonly Prefix[];
  /** An IPv6 subnet that no other network has; undefined where the kernel has no IPv6. */
  ownSubnet6: Prefix | undefined;
}

type PlanOptions = Pick<
  NetworkOptions,
  "bip" | "fixedCidr" | "ipv6" | "bip6" | "fixedCidr6" | "defaultAddressPools"
>;

/** Throws "invalid" for options that do not go together. */
export function planBridge(options: PlanOptions, facts: BridgeFacts): BridgePlan {
  const { subnet, gateway } = chooseSubnet(options, facts);
  const ipv4 = { subnet, gateway, range: rangeIn(subnet, "fixed-cidr", options.fixedCidr), reserved: [] };
  return options.ipv6 === true ? { ipv4, ipv6: planIpv6(options, facts) } : { ipv4 };
}

/** The part of the subnet to give addresses from; all of it if the option is not given. */
function rangeIn(subnet: Prefix, option: "fixed-cidr" | "fixed-cidr-v6", chosen: string | undefined): Prefix {
  if (chosen === undefined) return subnet;
  const range = parseCidr(chosen)?.prefix;
  if (range !== undefined && containsPrefix(subnet, range)) return range;
  const bip = option === "fixed-cidr" ? "--bip" : "--bip6";
  throw new BerthError("invalid", `invalid ${option} ${chosen} for the subnet ${formatPrefix(subnet)}`, {
    operation: "set up the bridge",
    object: chosen,
    hint: `${option} must lie inside the bridge's subnet (${bip})`,
  });
}

/** Its address, else the first of the subnet to give from, else a subnet of its own. */
function planIpv6({ bip6, fixedCidr6 }: PlanOptions, facts: BridgeFacts): BridgePool {
  if (facts.ownSubnet6 === undefined) {
    throw new BerthError("invalid", "IPv6 is not available: this kernel has none", {
      operation: "set up the bridge",
      object: "--ipv6",
      hint: "start the daemon without --ipv6",
    });
  }
  if (bip6 !== undefined) {
    const { subnet, gateway } = parseBip(bip6, 6);
    return { subnet, gateway, range: rangeIn(subnet, "fixed-cidr-v6", fixedCidr6), reserved: [] };
  }
  const chosen = fixedCidr6 === undefined ? facts.ownSubnet6 : parseCidr(fixedCidr6)?.prefix;
  if (chosen?.family !== 6 || chosen.length > 126) {
    throw new BerthError(
      "invalid",
      `invalid fixed-cidr-v6 ${fixedCidr6}: it is no IPv6 subnet for containers`,
      {
        operation: "set up the bridge",
        object: fixedCidr6 ?? "",
        hint: "give a subnet with room for containers: --fixed-cidr-v6 fd00:1::/64",
      },
    );
  }
  const gateway: Address = { family: 6, value: chosen.first + 1n };
  return { subnet: chosen, gateway, range: chosen, reserved: [] };
}

/** The plan of a network that users made: as it was written down when it was made. */
export function recordedPlan(config: NetworkConfig): BridgePlan {
  const [ipv4] = poolsOf(config, 4).filter(hasGateway);
  const [ipv6] = poolsOf(config, 6).filter(hasGateway);
  if (ipv4 === undefined && ipv6 === undefined) {
    throw new BerthError("internal", "the stored network has no subnet", { operation: "set up the bridge" });
  }
  return { ...(ipv4 !== undefined && { ipv4 }), ...(ipv6 !== undefined && { ipv6 }) };
}

function hasGateway(pool: Pool): pool is BridgePool {
  return pool.gateway !== undefined;
}

function chooseSubnet(options: PlanOptions, facts: BridgeFacts): { subnet: Prefix; gateway: Address } {
  if (options.bip !== undefined) return parseBip(options.bip, 4);
  if (facts.present !== undefined) {
    const { address, prefixLength } = facts.present;
    return { subnet: prefixOf(address, prefixLength), gateway: address };
  }
  const remembered = parseCidr(facts.remembered.subnet ?? "")?.prefix;
  const gateway = parseAddress(facts.remembered.gateway ?? "");
  if (remembered !== undefined && gateway !== undefined) {
    if (!facts.used.some((other) => overlaps(remembered, other))) return { subnet: remembered, gateway };
  }
  const subnet = pickSubnet(options.defaultAddressPools, facts.used);
  return { subnet, gateway: { family: subnet.family, value: subnet.first + 1n } };
}

function parseBip(bip: string, family: Family): { subnet: Prefix; gateway: Address } {
  const parsed = parseCidr(bip);
  const { address, prefix } = parsed ?? {};
  const problem =
    address === undefined || prefix === undefined
      ? "it is no address with a prefix length"
      : address.family !== family
        ? `it is no IPv${family} address`
        : prefix.length > (family === 4 ? 30 : 126)
          ? "its subnet has no room for containers"
          : address.value === prefix.first
            ? "it is the address of the subnet itself"
            : undefined;
  if (problem !== undefined || address === undefined || prefix === undefined) {
    throw new BerthError("invalid", `invalid bridge address ${bip}: ${problem}`, {
      operation: "set up the bridge",
      object: bip,
      hint: `give the gateway's address and the prefix length: ${family === 4 ? "--bip 172.30.0.1/16" : "--bip6 fd00:1::1/64"}`,
    });
  }
  return { subnet: prefix, gateway: address };
}

/** As the database and inspect show it. */
export function planConfig(bridge: string, { ipv4, ipv6 }: BridgePlan): NetworkConfig {
  return {
    bridge,
    ...(ipv4 !== undefined && poolConfig(ipv4)),
    ...(ipv6 !== undefined && { ipv6: poolConfig(ipv6) }),
  };
}

function poolConfig({ subnet, gateway, range }: BridgePool): RecordedPool {
  return {
    subnet: formatPrefix(subnet),
    gateway: formatAddress(gateway),
    ...(range.length !== subnet.length && { range: formatPrefix(range) }),
  };
}
