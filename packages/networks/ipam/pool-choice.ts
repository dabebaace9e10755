/**
 * A pool as it is written down when a network is made: what the user chose, and what is chosen for him. Pure.
 */
import { createHash } from "node:crypto";
import { BerthError } from "#errors/errors.ts";
import type { WantedPool } from "#networks/ipam/pool-request.ts";
import {
  type Address,
  formatAddress,
  formatPrefix,
  lastOf,
  type Prefix,
  width,
} from "#networks/ipam/prefix.ts";
import type { RecordedPool } from "#networks/network-record.ts";

/**
 * `needsGateway`: it gets one where the user chose none. Throws with Docker's texts for a gateway or further addresses
 * that nobody may have.
 */
export function recordedPool(
  pool: Pick<WantedPool, "subnet"> & Partial<WantedPool>,
  needsGateway: boolean,
): RecordedPool {
  const { subnet, range, reserved = {} } = pool;
  const others = new Map<string, string>();
  if (pool.gateway !== undefined && isUnusable(subnet, pool.gateway.value)) {
    throw taken(`failed to allocate gateway (${formatAddress(pool.gateway)})`, pool.gateway);
  }
  if (pool.gateway !== undefined) others.set(formatAddress(pool.gateway), "gateway");
  for (const [name, text] of Object.entries(reserved)) {
    if (others.has(text)) throw taken(`failed to allocate secondary ip address (${name}:${text})`, text);
    others.set(text, name);
  }
  const gateway = pool.gateway ?? (needsGateway ? firstFree(subnet, others) : undefined);
  return {
    subnet: formatPrefix(subnet),
    ...(gateway !== undefined && { gateway: formatAddress(gateway) }),
    ...(range !== undefined && { range: formatPrefix(range) }),
    ...(Object.keys(reserved).length > 0 && { reserved }),
  };
}

function firstFree(subnet: Prefix, others: ReadonlyMap<string, string>): Address {
  const { family } = subnet;
  for (let value = subnet.first; value <= lastOf(subnet); value++) {
    const address = { family, value };
    if (!isUnusable(subnet, value) && !others.has(formatAddress(address))) return address;
  }
  throw new BerthError(
    "internal",
    `failed to allocate gateway (): no available IPv${family} addresses on this network's address pools`,
    { operation: "create network", object: formatPrefix(subnet), hint: "choose a larger subnet" },
  );
}

/** The network's own address and, of IPv4, that for all hosts; a subnet of two has neither (RFC 3021). */
function isUnusable(subnet: Prefix, value: bigint): boolean {
  if (width(subnet.family) - subnet.length <= 1) return false;
  return value === subnet.first || (subnet.family === 4 && value === lastOf(subnet));
}

/** A subnet of 64 bits of the range for private use (RFC 4193), from the network's random id. */
export function uniqueLocal(id: string): Prefix {
  const digest = createHash("sha256").update(id).digest("hex");
  return { family: 6, first: BigInt(`0xfd${digest.slice(0, 14)}0000000000000000`), length: 64 };
}

function taken(what: string, address: Address | string): BerthError {
  return new BerthError("internal", `${what}: Address already in use`, {
    operation: "create network",
    object: typeof address === "string" ? address : formatAddress(address),
  });
}
