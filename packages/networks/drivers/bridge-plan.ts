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
  formatAddress,
  formatPrefix,
  overlaps,
  type Prefix,
  parseAddress,
  parseCidr,
  prefixOf,
} from "#networks/ipam/prefix.ts";
import type { NetworkConfig } from "#networks/network-record.ts";
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
}

type PlanOptions = Pick<NetworkOptions, "bip" | "fixedCidr" | "defaultAddressPools">;

export function planBridge(options: PlanOptions, facts: BridgeFacts): BridgePlan {
  const { subnet, gateway } = chooseSubnet(options, facts);
  if (options.fixedCidr === undefined) return { ipv4: { subnet, gateway, range: subnet, reserved: [] } };
  const range = parseCidr(options.fixedCidr)?.prefix;
  if (range === undefined || !containsPrefix(subnet, range)) {
    throw new BerthError(
      "invalid",
      `invalid fixed-cidr ${options.fixedCidr} for the subnet ${formatPrefix(subnet)}`,
      {
        operation: "set up the bridge",
        object: options.fixedCidr,
        hint: "fixed-cidr must lie inside the bridge's subnet (--bip)",
      },
    );
  }
  return { ipv4: { subnet, gateway, range, reserved: [] } };
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
  if (options.bip !== undefined) return parseBip(options.bip);
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

function parseBip(bip: string): { subnet: Prefix; gateway: Address } {
  const parsed = parseCidr(bip);
  const { address, prefix } = parsed ?? {};
  const problem =
    address === undefined || prefix === undefined
      ? "it is no address with a prefix length"
      : address.family !== 4
        ? "it is no IPv4 address"
        : prefix.length > 30
          ? "its subnet has no room for containers"
          : address.value === prefix.first
            ? "it is the address of the subnet itself"
            : undefined;
  if (problem !== undefined || address === undefined || prefix === undefined) {
    throw new BerthError("invalid", `invalid bridge address ${bip}: ${problem}`, {
      operation: "set up the bridge",
      object: bip,
      hint: "give the gateway's address and the prefix length: --bip 172.30.0.1/16",
    });
  }
  return { subnet: prefix, gateway: address };
}

/** As the database and inspect show it. */
export function planConfig(bridge: string, { ipv4 }: BridgePlan): NetworkConfig {
  if (ipv4 === undefined) return { bridge };
  const whole = ipv4.range.length === ipv4.subnet.length;
  return {
    bridge,
    subnet: formatPrefix(ipv4.subnet),
    gateway: formatAddress(ipv4.gateway),
    ...(!whole && { range: formatPrefix(ipv4.range) }),
  };
}
