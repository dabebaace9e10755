/**
 * What `docker network create` asks for, checked and completed: the record of the new network. Reads the host's
 * addresses through `facts`; makes nothing.
 */
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { userBridgeSettings } from "#networks/drivers/bridge-settings.ts";
import { checkParent, childLinkSettings, isChildDriver } from "#networks/drivers/child-link-settings.ts";
import { pickSubnet } from "#networks/ipam/address-pools.ts";
import { recordedPools } from "#networks/ipam/network-pools.ts";
import { recordedPool, uniqueLocal } from "#networks/ipam/pool-choice.ts";
import { type WantedPool, wantedPools } from "#networks/ipam/pool-request.ts";
import { type Family, formatPrefix, overlaps, type Prefix, parseCidr } from "#networks/ipam/prefix.ts";
import { checkRequest, refuse } from "#networks/network-checks.ts";
import { type NetworkConfig, type NetworkRecord, randomId } from "#networks/network-record.ts";
import { fromTemplate, templateOf } from "#networks/network-template.ts";
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
  asked: NetworkCreateRequest,
  facts: CreateFacts,
  options: Pick<NetworkOptions, "defaultAddressPools">,
): NetworkRecord {
  const name = asked.Name ?? "";
  checkRequest(asked, name, facts);
  const made = { id: randomId(), name, created: new Date().toISOString() };
  if (asked.ConfigOnly) return { ...made, driver: "null", config: templateOf(asked) };
  const request = fromTemplate(asked, facts.networks);
  const config: NetworkConfig = {
    labels: request.Labels ?? {},
    options: request.Options ?? {},
    ipamOptions: request.IPAM?.Options ?? null,
    internal: request.Internal ?? false,
    attachable: request.Attachable ?? false,
    ...(request.Scope && { scope: request.Scope }),
    ...(asked.ConfigFrom?.Network && { configFrom: asked.ConfigFrom.Network }),
  };
  const driver = request.Driver || "bridge";
  const record: NetworkRecord = { ...made, driver: isChildDriver(driver) ? driver : "bridge", config };
  if (isChildDriver(driver)) layOnParent(record, facts);
  else nameBridge(record, facts);
  choosePools(record, request, facts, options);
  return record;
}

function nameBridge({ id, name, config }: NetworkRecord, facts: CreateFacts): void {
  const { bridge } = userBridgeSettings({ id, config });
  const other = facts.networks.find((network) => network.config.bridge === bridge);
  if (other !== undefined) {
    throw refuse(
      "forbidden",
      `cannot create network ${id} (${bridge}): conflicts with network ${other.id} (${bridge}): networks have same bridge name`,
      name,
    );
  }
  config.bridge = bridge;
  if (facts.hasInterface(bridge)) config.foundBridge = true;
}

function layOnParent(record: NetworkRecord, { networks, hasInterface }: CreateFacts): void {
  const settings = childLinkSettings(record);
  checkParent(settings, networks);
  const { parent } = settings;
  record.config.parent = parent;
  const beside = networks.some(({ config }) => config.parent === parent && config.madeParent);
  if (beside || !hasInterface(parent)) record.config.madeParent = true;
}

function choosePools(
  { id, driver, config }: NetworkRecord,
  request: NetworkCreateRequest,
  facts: CreateFacts,
  options: Pick<NetworkOptions, "defaultAddressPools">,
): void {
  const enabled = { ipv4: request.EnableIPv4 ?? true, ipv6: request.EnableIPv6 ?? false };
  const wanted = wantedPools(request.IPAM?.Config ?? [], enabled);
  if (driver === "bridge" && (wanted.ipv4.length > 1 || wanted.ipv6.length > 1)) {
    throw refuse(
      "forbidden",
      "bridge driver doesn't support multiple subnets",
      request.Name ?? "",
      "give one subnet, and with --ipv6 one more of IPv6",
    );
  }
  const used = facts.networks.flatMap(subnetsOf);
  const pools = (family: Family, find: () => Prefix): Pool[] => {
    if (!enabled[`ipv${family}`]) return [];
    const given = wanted[`ipv${family}`];
    return given.length > 0 ? given : [{ subnet: find() }];
  };
  const chosen = [
    ...pools(4, () => pickSubnet(daemonPools(options, 4), [...used, ...facts.usedByHost()])),
    ...pools(6, () => uniqueLocal(id)),
  ];
  for (const pool of chosen) {
    if (used.some((other) => overlaps(pool.subnet, other))) throw overlapping(pool);
    used.push(pool.subnet);
  }
  // On a bridge the host is the gateway; on a wire there is one only if the user says who.
  const recorded = chosen.map((pool) => recordedPool(pool, driver === "bridge"));
  const [ipv4, ...more4] = recorded.filter(({ subnet }) => !subnet.includes(":"));
  const [ipv6, ...more6] = recorded.filter(({ subnet }) => subnet.includes(":"));
  const morePools = [...more4, ...more6];
  Object.assign(config, {
    ...ipv4,
    chosenSubnet: wanted.ipv4.length > 0,
    chosenSubnet6: wanted.ipv6.length > 0,
    ...(ipv6 !== undefined && { ipv6 }),
    ...(morePools.length > 0 && { morePools }),
  });
}

/** The subnets of a network. */
export function subnetsOf({ config }: NetworkRecord): Prefix[] {
  return recordedPools(config).flatMap(({ subnet }) => parseCidr(subnet)?.prefix ?? []);
}

/** The daemon's pools of one family; none for the predefined ones. */
function daemonPools(options: Pick<NetworkOptions, "defaultAddressPools">, family: Family) {
  return options.defaultAddressPools.filter(({ base }) => parseCidr(base)?.prefix.family === family);
}

type Pool = Pick<WantedPool, "subnet"> & Partial<WantedPool>;

function overlapping({ subnet }: Pool) {
  return refuse(
    "forbidden",
    "invalid pool request: Pool overlaps with other one on this address space",
    formatPrefix(subnet),
    "`docker network inspect` shows the subnets of the networks there are",
  );
}
