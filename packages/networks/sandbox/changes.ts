/**
 * Networks of a container that runs: joining one more, leaving one. The way out, and with it the published ports, moves
 * to whichever network leads out afterwards.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { deleteLink, moveLink } from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { findLink } from "#networks/drivers/bridge-link.ts";
import { bridgePort, defaultRoute, noDefaultRoute } from "#networks/drivers/sandbox-program.ts";
import {
  chooseGateways,
  type Gateways,
  type PlannedEndpoint,
  publishingNetwork,
} from "#networks/endpoint-plan.ts";
import { parseAddress } from "#networks/ipam/prefix.ts";
import type { HeldLink, HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import { addressesFreed, ownerOf, takeEndpoint } from "#networks/sandbox/joining.ts";
import {
  attachEndpoint,
  giveBackAddresses,
  reserveAddresses,
  type TakenEndpoint,
} from "#networks/sandbox/plugin-steps.ts";
import { changeNamespace } from "#networks/sandbox/running-namespace.ts";
import { throughShortage } from "#program/shortage.ts";
import type { NetlinkRequest } from "#runtime/launch-types.ts";
import type { Database } from "#state/database.ts";

export interface Change {
  /** Changed here, and saved. */
  held: HeldSandbox;
  /** The container's first process. */
  pid: number;
  network: Network;
  wanted: readonly WantedPort[];
  database: Database;
  networkOf: (name: string) => Network | undefined;
  save: () => void;
}

export interface Joining extends Change {
  request: SandboxRequest;
  wishes: Partial<EndpointSettings>;
}

/** When it rejects, the container is on the networks it was on. */
export async function joinRunning(change: Joining): Promise<void> {
  const { held, pid, network, wishes } = change;
  const { name } = network.record;
  if (held.endpoints[name] !== undefined) {
    throw new BerthError("forbidden", `endpoint with name ${held.name} already exists in network ${name}`, {
      operation: "connect network",
      object: name,
    });
  }
  const present = presentEndpoints(change);
  const before = chooseGateways(present);
  const after = chooseGateways([...present, { network, wishes }]);
  const publishedBefore = publishedBy(held);
  await addressesFreed([{ network, wishes }]);
  const planned = await reserveAddresses([{ network, wishes }]);
  const taken = takeNew(change, planned, after, present);
  try {
    await network.driver.clear?.(taken.made.settings.MacAddress);
    const program = await attachEndpoint(taken, change);
    const formerWays = routes(held, before, after, noDefaultRoute);
    await changeNamespace(pid, {
      ...program,
      container: [...formerWays, ...program.container],
    });
    await movePorts(change, after);
    settled(change);
  } catch (error) {
    await undoJoining(change, { before, after, publishedBefore });
    throw error;
  }
}

/**
 * What may have kept it from joining keeps nobody from taking it back: every step waits until it has passed. What fails
 * all the same is not told, for the first failure is the one to tell; the next daemon finishes what is left.
 */
async function undoJoining(
  change: Joining,
  { before, after, publishedBefore }: { before: Gateways; after: Gateways; publishedBefore: PublishedOn },
): Promise<void> {
  const works = (step: () => Promise<void>) =>
    throughShortage(step).then(
      () => true,
      () => false,
    );
  const isOff = await works(() => removeEndpoint(change));
  await works(() => restoreRoutes(change, after, before));
  await works(() => publishAgain(change, publishedBefore));
  if (isOff) delete change.held.changing;
  await works(async () => change.save());
}

/** The transaction. */
function takeNew(
  { request, held, network, database, save }: Joining,
  planned: readonly PlannedEndpoint[],
  gateways: Gateways,
  present: readonly PlannedEndpoint[],
): TakenEndpoint {
  try {
    return database.transaction(() => {
      const [endpoint] = planned as [PlannedEndpoint];
      const namespaceHasIpv6 = present.some(({ network }) => network.driver.hasIpv6);
      const asked = { request, held, endpoint, gateways, namespaceHasIpv6 };
      const taken = takeEndpoint({ ...asked, primary: false, publishes: false });
      held.changing = network.record.name;
      save();
      return taken;
    });
  } catch (error) {
    // The database has forgotten these by itself.
    delete held.changing;
    delete held.endpoints[network.record.name];
    delete held.links[network.record.name];
    giveBackAddresses(planned);
    throw error;
  }
}

/** Also finishes what a daemon that was killed had begun, wherever it was. */
export async function leaveRunning(change: Change): Promise<void> {
  const { held } = change;
  const { name } = change.network.record;
  const publishedBefore = publishedBy(held);
  try {
    held.changing = name;
    change.save();
  } catch (error) {
    delete held.changing;
    throw error;
  }
  const before = chooseGateways(presentEndpoints(change));
  const after = chooseGateways(presentEndpoints(change).filter(({ network }) => network !== change.network));
  try {
    if (held.publishedOn === name) await movePorts(change, after);
  } catch (error) {
    await throughShortage(() => publishAgain(change, publishedBefore)).catch(() => undefined);
    settled(change);
    throw error;
  }
  // From here on there is no way back, and it waits for what the kernel is short of.
  await throughShortage(() => removeEndpoint(change));
  await throughShortage(() => restoreRoutes(change, before, after));
  settled(change);
}

function settled({ held, save }: Change): void {
  delete held.changing;
  save();
}

/** EEXIST: a change that was cut short had not come to it. */
const alreadyThere = 17;

/** Adds the default routes of `to` where they are not those of `from`. */
async function restoreRoutes({ held, pid }: Change, from: Gateways, to: Gateways): Promise<void> {
  const container = routes(held, to, from, defaultRoute).map((one) => ({ ...one, ignore: alreadyThere }));
  if (container.length > 0) await changeNamespace(pid, { host: [], container, sysctls: {} });
}

function presentEndpoints({ held, networkOf }: Change): PlannedEndpoint[] {
  return Object.entries(held.endpoints).flatMap(([name, wishes]) => {
    const network = networkOf(name);
    return network === undefined ? [] : [{ network, wishes }];
  });
}

/** One request for each family whose way out is `one` and not `other`. */
function routes(
  held: HeldSandbox,
  one: Gateways,
  other: Gateways,
  request: typeof defaultRoute,
): NetlinkRequest[] {
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const network = one[family];
    if (network === undefined || network === other[family]) return [];
    const endpoint = held.endpoints[network.record.name];
    const link = held.links[network.record.name];
    const gateway = parseAddress((family === "ipv4" ? endpoint?.Gateway : endpoint?.IPv6Gateway) ?? "");
    const way = gateway ?? link?.onLink?.find((own) => `ipv${own}` === family);
    return link === undefined || way === undefined ? [] : [request(link, way)];
  });
}

/** The network that ports are published on ("" for none), and the ports. */
type PublishedOn = Pick<HeldSandbox, "publishedOn" | "published">;

function publishedBy({ publishedOn, published }: HeldSandbox): PublishedOn {
  return { publishedOn, published };
}

/** Publishes on the network that leads out now; the ports of the host stay the same. */
async function movePorts(change: Change, gateways: Gateways): Promise<void> {
  const { held } = change;
  const to = publishingNetwork(gateways);
  if (to?.record.name !== held.publishedOn) await publishOn(change, to, publishedBy(held));
}

/** A change that was to move the ports has failed: they are where they were. */
async function publishAgain(change: Change, before: PublishedOn): Promise<void> {
  const { held, networkOf } = change;
  const isThere = held.publishedOn === before.publishedOn && held.published === before.published;
  const to = networkOf(before.publishedOn);
  if (isThere || to === undefined || held.endpoints[before.publishedOn] === undefined) return;
  await publishOn(change, to, before);
}

/** Publishes on `to` what was published before, and nowhere else any more. */
async function publishOn(change: Change, to: Network | undefined, before: PublishedOn): Promise<void> {
  const { held, pid, networkOf } = change;
  const former = held.endpoints[held.publishedOn];
  if (former !== undefined)
    await networkOf(held.publishedOn)?.driver.withdraw(former.EndpointID, held.published);
  // Who was reached by an address of its own has no port of the host's to keep.
  const anew = before.publishedOn === "" || before.published.some(({ hostPort }) => hostPort === 0);
  const wanted = anew ? change.wanted : before.published.map(asWanted);
  held.published = [];
  held.publishedOn = to?.record.name ?? "";
  const endpoint = held.endpoints[held.publishedOn];
  const link = held.links[held.publishedOn];
  if (to !== undefined && endpoint !== undefined) {
    const owner = ownerOf(held, endpoint);
    held.published = await to.driver.takePorts(owner, wanted);
    change.save();
    await to.driver.publish(owner, held.published);
    if (held.published.length > 0 && link !== undefined) {
      await changeNamespace(pid, {
        host: [bridgePort(link.veth, { hairpin: true })],
        container: [],
        sysctls: {},
      });
    }
  }
  change.save();
}

function asWanted(port: HeldSandbox["published"][number]): WantedPort {
  const { protocol, containerPort, hostIp, hostPort } = port;
  return {
    protocol,
    containerPort,
    hostIp,
    hostPorts: { first: hostPort, last: hostPort },
  };
}

async function removeEndpoint(change: Change): Promise<void> {
  const { held, network } = change;
  const { name } = network.record;
  const endpoint = held.endpoints[name];
  const link = held.links[name];
  const published = held.publishedOn === name ? held.published : [];
  if (link !== undefined) await removeLink(change.pid, link);
  delete held.endpoints[name];
  delete held.links[name];
  if (held.publishedOn === name) {
    held.published = [];
    held.publishedOn = "";
  }
  if (endpoint !== undefined) {
    await network.driver.leave(endpoint.EndpointID, published);
    network.addresses?.release(endpoint.EndpointID);
  }
  change.save();
}

/** ENODEV: it is gone already, or was never made. */
const noSuchLink = 19;

/** By its end on the host, where it has one; the other goes with it. Does not hold up the event loop. */
async function removeLink(pid: number, { veth, name, index, former }: HeldLink): Promise<void> {
  if (veth === "") {
    const [why, bytes] =
      former === undefined
        ? [`remove ${name}`, deleteLink(index)]
        : [`give ${former} back`, returnLink(index, former)];
    const container = [{ why, bytes, pidAt: [], ignore: noSuchLink }];
    await changeNamespace(pid, { host: [], container, sysctls: {} });
    return;
  }
  using netlink = new NetlinkSocket();
  const link = findLink(netlink, veth);
  if (link !== undefined) await netlink.requestSlowly(deleteLink(link.index));
}

/** A link that was the host's before goes back there, for who made it. */
function returnLink(index: number, name: string): Buffer {
  const { bytes, pidAt } = moveLink(index, { name });
  bytes.writeUInt32LE(process.pid, pidAt);
  return bytes;
}
