/**
 * Joining a new sandbox to its networks: addresses, ports and the row that remembers them in one transaction, then the
 * rules of the published ports.
 */
import type { EndpointSettings, PortBinding } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import type { EndpointRequest, PortOwner } from "#networks/drivers/driver-types.ts";
import { sandboxProgram } from "#networks/drivers/sandbox-program.ts";
import {
  chooseGateways,
  dnsNames,
  type Gateways,
  isUserDefined,
  nextLink,
  type PlannedEndpoint,
  publishingNetwork,
} from "#networks/endpoint-plan.ts";
import { type HeldSandbox, randomId } from "#networks/network-record.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import { portMap, type WantedPort } from "#networks/ports/port-spec.ts";
import {
  attachEndpoint,
  giveBackAddresses,
  reserveAddresses,
  type TakenEndpoint,
  wishesOf,
} from "#networks/sandbox/plugin-steps.ts";
import type { SandboxProgram } from "#runtime/launch-types.ts";
import type { Database } from "#state/database.ts";

export interface Joining {
  request: SandboxRequest;
  planned: readonly PlannedEndpoint[];
  /** Filled in here. */
  held: HeldSandbox;
  wanted: readonly WantedPort[];
  database: Database;
  kernelHasIpv6: boolean;
  /** Writes the row of `held`. */
  save: () => void;
  /** Gives back what `held` has, once it is saved. */
  undo: () => Promise<void>;
}

/** Resolves when everything is in place, with what the namespace is to be told; when it rejects, nothing is held. */
export async function joinNetworks(joining: Joining): Promise<SandboxProgram> {
  await addressesFreed(joining.planned);
  const planned = await reserveAddresses(joining.planned);
  let taken: TakenEndpoint[];
  try {
    taken = takeAll({ ...joining, planned });
  } catch (error) {
    giveBackAddresses(planned);
    throw error;
  }
  try {
    await takePorts({ ...joining, planned });
    await clearWay(joining);
    const programs = await attachAll(joining, taken);
    await publishAll(joining);
    const namespaceHasIpv6 = planned.some(({ network }) => network.driver.hasIpv6);
    return sandboxProgram(programs, { kernel: joining.kernelHasIpv6, wanted: namespaceHasIpv6 });
  } catch (error) {
    await joining.undo();
    throw error;
  }
}

/** Who asks for an address by number may be who has just given it back. */
export async function addressesFreed(planned: readonly PlannedEndpoint[]): Promise<void> {
  for (const { network, wishes } of planned) {
    const { IPv4Address, IPv6Address } = wishes.IPAMConfig ?? {};
    if (IPv4Address || IPv6Address) await network.driver.freed?.();
  }
}

/** The transaction. */
function takeAll(joining: Joining): TakenEndpoint[] {
  const { request, planned, held, wanted, database } = joining;
  const gateways = chooseGateways(planned);
  const namespaceHasIpv6 = planned.some(({ network }) => network.driver.hasIpv6);
  const outward = publishingNetwork(gateways);
  return database.transaction(() => {
    const parts = planned.map((endpoint, position) =>
      takeEndpoint({
        request,
        held,
        endpoint,
        gateways,
        namespaceHasIpv6,
        primary: position === 0,
        publishes: endpoint.network === outward && wanted.length > 0,
      }),
    );
    held.ports = exposedOn(joining);
    joining.save();
    return parts;
  });
}

/** Only plugins take time here; what they say is saved once they have said it. */
async function attachAll(joining: Joining, taken: readonly TakenEndpoint[]): Promise<SandboxProgram[]> {
  if (taken.every(({ endpoint }) => endpoint.network.driver.attach === undefined))
    return taken.map(({ made }) => made.program);
  const programs: SandboxProgram[] = [];
  for (const one of taken) programs.push(await attachEndpoint(one, joining));
  joining.save();
  return programs;
}

async function publishAll({ planned, held }: Joining): Promise<void> {
  const endpoint = held.endpoints[held.publishedOn];
  const outward = planned.find(({ network }) => network.record.name === held.publishedOn)?.network;
  if (held.published.length === 0 || outward === undefined || endpoint === undefined) return;
  await outward.driver.publish(ownerOf(held, endpoint), held.published);
}

async function clearWay({ planned, held }: Joining): Promise<void> {
  for (const { network } of planned)
    await network.driver.clear?.(held.endpoints[network.record.name]?.MacAddress ?? "");
}

/** After the transaction: there may be thousands. They are saved before anything leads to them. */
async function takePorts(joining: Joining): Promise<void> {
  const { planned, held, wanted } = joining;
  const outward = publishingNetwork(chooseGateways(planned));
  const endpoint = outward && held.endpoints[outward.record.name];
  if (outward === undefined || endpoint === undefined) return;
  held.publishedOn = outward.record.name;
  if (wanted.length === 0) return;
  held.published = await outward.driver.takePorts(ownerOf(held, endpoint), wanted);
  held.ports = exposedOn(joining);
  joining.save();
}

/** On the host's network, and on none, nothing is shown as exposed. */
function exposedOn({ request, planned, held }: Joining): Record<string, PortBinding[] | null> {
  const bridged = planned.some(({ network }) => network.record.driver === "bridge");
  return bridged ? portMap(request.exposedPorts, held.published) : {};
}

export interface Taking {
  request: SandboxRequest;
  held: HeldSandbox;
  endpoint: PlannedEndpoint;
  gateways: Gateways;
  namespaceHasIpv6: boolean;
  /** The container's own MAC address is for its first network. */
  primary: boolean;
  publishes: boolean;
}

/** Takes one endpoint and enters it into `held`. Inside a transaction. */
export function takeEndpoint(taking: Taking): TakenEndpoint {
  const { request, held, endpoint, gateways } = taking;
  const { network, wishes } = endpoint;
  const { name } = network.record;
  if (network.record.config.template !== undefined) {
    throw new BerthError("forbidden", "cannot create endpoint on configuration-only network", {
      operation: "create endpoint",
      object: name,
      hint: `make a network of it: docker network create --config-from ${name}`,
    });
  }
  const link = nextLink(Object.values(held.links), wishes);
  const asked: EndpointRequest = {
    endpointId: endpoint.reserved?.endpointId ?? randomId(),
    containerName: request.name,
    wishes: wishesOf(endpoint),
    macAddress:
      wishes.MacAddress || (taking.primary && request.macAddress) || endpoint.reserved?.addresses.mac || "",
    link,
    defaultRoute: { ipv4: gateways.ipv4 === network, ipv6: gateways.ipv6 === network },
    namespaceHasIpv6: taking.namespaceHasIpv6,
    publishes: taking.publishes,
  };
  const made = network.driver.take(asked);
  held.endpoints[name] = {
    ...made.settings,
    IPAMConfig: wishes.IPAMConfig ?? null,
    Links: wishes.Links ?? null,
    Aliases: wishes.Aliases ?? null,
    DriverOpts: wishes.DriverOpts ?? null,
    GwPriority: wishes.GwPriority ?? 0,
    DNSNames: isUserDefined(network) ? dnsNames(request, wishes) : null,
  };
  // Where a plugin makes the link, its place inside is kept for it.
  if (made.program.host.length > 0 || network.driver.attach !== undefined) {
    held.links[name] = { veth: made.veth, ...link, ...(made.onLink && { onLink: made.onLink }) };
  }
  return { endpoint, asked, made };
}

export function ownerOf(held: HeldSandbox, endpoint: EndpointSettings): PortOwner {
  return {
    endpointId: endpoint.EndpointID,
    containerName: held.name,
    containerIp: endpoint.IPAddress,
    containerIp6: endpoint.GlobalIPv6Address,
  };
}
