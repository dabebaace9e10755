/**
 * What `docker network create` asks for, checked and completed: the record of the new network. Reads the host's
 * addresses through `facts`; makes nothing.
 */
import { createHash } from "node:crypto";
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { userBridgeSettings } from "#networks/drivers/bridge-settings.ts";
import { pickSubnet } from "#networks/ipam/address-pools.ts";
import { type WantedPool, wantedPools } from "#networks/ipam/pool-request.ts";
import {
  type Address,
  type Family,
  formatAddress,
  formatPrefix,
  overlaps,
  type Prefix,
  parseCidr,
} from "#networks/ipam/prefix.ts";
import { type NetworkConfig, type NetworkRecord, randomId } from "#networks/network-record.ts";
import { predefined } from "#networks/network-table.ts";
import type { NetworkOptions } from "#networks/network-types.ts";

export interface CreateFacts {
  /** Networks there are. */
  networks: readonly NetworkRecord[];
  /** Prefixes the host has addresses in or routes to; asked for only when a subnet has to be found. */
  usedByHost: () => readonly Prefix[];
  /** Is there an interface of that name already? */
  hasInterface: (name: string) => boolean;
  kernelHasIpv6: boolean;
}

/** Throws with Docker's texts and kinds for everything that is refused. */
export function composeNetwork(
  request: NetworkCreateRequest,
  facts: CreateFacts,
  options: Pick<NetworkOptions, "defaultAddressPools">,
): NetworkRecord {
  const name = request.Name ?? "";
  checkRequest(request, name, facts);
  const id = randomId();
  const ipv6 = request.EnableIPv6 ?? false;
  const ipam = request.IPAM ?? {};
  const wanted = wantedPools(ipam.Config ?? [], ipv6);
  const config: NetworkConfig = {
    labels: request.Labels ?? {},
    options: request.Options ?? {},
    ipamOptions: ipam.Options ?? null,
    internal: request.Internal ?? false,
    attachable: request.Attachable ?? false,
  };
  const settings = userBridgeSettings({ id, config });
  const used = facts.networks.flatMap(subnetsOf);
  const pool4 = wanted.ipv4 ?? {
    subnet: pickSubnet(poolsOf(options, 4), [...used, ...facts.usedByHost()]),
  };
  const pool6 = ipv6 ? (wanted.ipv6 ?? { subnet: uniqueLocal(id) }) : undefined;
  for (const pool of [pool4, pool6]) {
    if (pool !== undefined && used.some((other) => overlaps(pool.subnet, other))) throw overlapping(pool);
  }
  Object.assign(config, {
    bridge: settings.bridge,
    ...recorded(pool4),
    chosenSubnet: wanted.ipv4 !== undefined,
    chosenSubnet6: wanted.ipv6 !== undefined,
    ...(pool6 !== undefined && { ipv6: recorded(pool6) }),
  });
  checkBridge(name, id, settings.bridge, facts);
  if (facts.hasInterface(settings.bridge)) config.foundBridge = true;
  return { id, name, driver: "bridge", created: new Date().toISOString(), config };
}

function checkRequest(request: NetworkCreateRequest, name: string, facts: CreateFacts): void {
  if (name.trim() === "") throw refuse("invalid", "invalid name: name is empty", name);
  if (predefined.has(name) || name === "default") {
    throw refuse("forbidden", `operation is not permitted on predefined ${name} network`, name);
  }
  if (name.includes("/") || name.startsWith("container:")) {
    throw refuse("invalid", `invalid network name: ${name}`, name, "a name has no slash");
  }
  if (facts.networks.some((network) => network.name === name)) {
    throw refuse("conflict", `network with name ${name} already exists`, name);
  }
  const driver = request.Driver || "bridge";
  if (driver === "host" || driver === "null") {
    throw refuse("forbidden", `only one instance of "${driver}" network is allowed`, name);
  }
  if (driver !== "bridge") {
    throw refuse("not-found", `plugin "${driver}" not found`, name, "the driver there is: bridge");
  }
  const ipamDriver = request.IPAM?.Driver || "default";
  if (ipamDriver !== "default") {
    throw refuse(
      "not-found",
      `plugin "${ipamDriver}" not found`,
      name,
      "the address driver there is: default",
    );
  }
  if (request.Scope === "swarm" || request.Ingress) {
    throw refuse("unavailable", "This node is not a swarm manager.", name);
  }
  if (request.ConfigOnly || request.ConfigFrom?.Network) {
    throw refuse("not-implemented", "configuration-only networks are not supported", name);
  }
  if (request.EnableIPv4 === false) {
    throw refuse("not-implemented", "IPv4 cannot be disabled", name, "leave out --ipv4=false");
  }
  if (request.EnableIPv6 && !facts.kernelHasIpv6) {
    throw refuse("invalid", "IPv6 is not available: this kernel has none", name);
  }
}

function checkBridge(name: string, id: string, bridge: string, facts: CreateFacts): void {
  const other = facts.networks.find((network) => network.config.bridge === bridge);
  if (other === undefined) return;
  throw refuse(
    "forbidden",
    `cannot create network ${id} (${bridge}): conflicts with network ${other.id} (${bridge}): networks have same bridge name`,
    name,
  );
}

/** The subnets of a network. */
export function subnetsOf({ config }: NetworkRecord): Prefix[] {
  return [config.subnet, config.ipv6?.subnet].flatMap((text) => parseCidr(text ?? "")?.prefix ?? []);
}

/** The daemon's pools of one family; none for the predefined ones. */
function poolsOf(options: Pick<NetworkOptions, "defaultAddressPools">, family: Family) {
  return options.defaultAddressPools.filter(({ base }) => parseCidr(base)?.prefix.family === family);
}

type Pool = Pick<WantedPool, "subnet"> & Partial<WantedPool>;

function recorded(pool: Pool) {
  const { subnet, range, gateway, reserved = {} } = pool;
  return {
    subnet: formatPrefix(subnet),
    gateway: formatAddress(gateway ?? firstHost(subnet)),
    ...(range !== undefined && { range: formatPrefix(range) }),
    ...(Object.keys(reserved).length > 0 && { reserved }),
  };
}

function firstHost({ family, first }: Prefix): Address {
  return { family, value: first + 1n };
}

/** A subnet of 64 bits of the range for private use (RFC 4193), from the network's random id. */
function uniqueLocal(id: string): Prefix {
  const digest = createHash("sha256").update(id).digest("hex");
  return { family: 6, first: BigInt(`0xfd${digest.slice(0, 14)}0000000000000000`), length: 64 };
}

function overlapping(pool: Pool): BerthError {
  return refuse(
    "forbidden",
    "invalid pool request: Pool overlaps with other one on this address space",
    formatPrefix(pool.subnet),
    "`docker network inspect` shows the subnets of the networks there are",
  );
}

function refuse(
  code: ConstructorParameters<typeof BerthError>[0],
  message: string,
  object: string,
  hint?: string,
): BerthError {
  return new BerthError(code, message, {
    operation: "create network",
    object,
    ...(hint !== undefined && { hint }),
  });
}
