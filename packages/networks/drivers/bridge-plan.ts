/**
 * Which subnet, gateway and range a bridge has: from the options, what the interface already carries, what the
 * database remembers, or a free pool, in this order. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { pickSubnet } from "#networks/ipam/address-pools.ts";
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

export interface BridgePlan {
  subnet: Prefix;
  gateway: Address;
  range: Prefix;
  /** Addresses that are others'. */
  reserved: readonly Address[];
  ipv6?: { subnet: Prefix; gateway: Address; range: Prefix; reserved: readonly Address[] };
}

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
  if (options.fixedCidr === undefined) return { subnet, gateway, range: subnet, reserved: [] };
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
  return { subnet, gateway, range, reserved: [] };
}

/** The plan of a network that users made: as it was written down when it was made. */
export function recordedPlan(config: NetworkConfig): BridgePlan {
  const { ipv6 } = config;
  return { ...recordedPool(config), ...(ipv6 !== undefined && { ipv6: recordedPool(ipv6) }) };
}

function recordedPool(pool: NonNullable<NetworkConfig["ipv6"]> | NetworkConfig) {
  const subnet = parseCidr(pool.subnet ?? "")?.prefix;
  const gateway = parseAddress(pool.gateway ?? "");
  if (subnet === undefined || gateway === undefined) {
    throw new BerthError("internal", "the stored network has no subnet", { operation: "set up the bridge" });
  }
  return {
    subnet,
    gateway,
    range: parseCidr(pool.range ?? "")?.prefix ?? subnet,
    reserved: Object.values(pool.reserved ?? {}).flatMap((text) => parseAddress(text) ?? []),
  };
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
export function planConfig(bridge: string, plan: BridgePlan): NetworkConfig {
  const whole = plan.range.length === plan.subnet.length;
  return {
    bridge,
    subnet: formatPrefix(plan.subnet),
    gateway: formatAddress(plan.gateway),
    ...(!whole && { range: formatPrefix(plan.range) }),
  };
}
