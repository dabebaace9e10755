/**
 * The parts of joining that take time, because plugins have their say: addresses are asked for before the transaction that
 * takes an endpoint, links after it.
 *
 * Owns nothing: what was asked for is in rows of the networks, and given back by them.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import type { DriverEndpoint, EndpointRequest } from "#networks/drivers/driver-types.ts";
import type { PlannedEndpoint } from "#networks/endpoint-plan.ts";
import { type HeldSandbox, randomId } from "#networks/network-record.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import type { SandboxProgram } from "#runtime/launch-types.ts";

/** The same endpoints, those with an address of a plugin's have it. When it rejects, nothing is held. */
export async function reserveAddresses(
  planned: readonly PlannedEndpoint[],
): Promise<readonly PlannedEndpoint[]> {
  if (planned.every(({ network }) => network.addresses === undefined)) return planned;
  const reserved: PlannedEndpoint[] = [];
  try {
    for (const endpoint of planned) {
      const { addresses } = endpoint.network;
      const { IPv4Address, IPv6Address } = endpoint.wishes.IPAMConfig ?? {};
      const wanted = { ...(IPv4Address && { ipv4: IPv4Address }), ...(IPv6Address && { ipv6: IPv6Address }) };
      const endpointId = randomId();
      const mac = endpoint.wishes.MacAddress ?? "";
      reserved.push(
        addresses === undefined
          ? endpoint
          : {
              ...endpoint,
              reserved: { endpointId, addresses: await addresses.request(endpointId, wanted, mac) },
            },
      );
    }
    return reserved;
  } catch (error) {
    giveBackAddresses(reserved);
    throw error;
  }
}

/** They were not taken. Nobody waits for the plugin. */
export function giveBackAddresses(planned: readonly PlannedEndpoint[]): void {
  for (const { network, reserved } of planned)
    if (reserved !== undefined) network.addresses?.release(reserved.endpointId);
}

/** What a driver is asked for: the user's wishes, with what a plugin has given. */
export function wishesOf({ wishes, reserved }: PlannedEndpoint): Partial<EndpointSettings> {
  if (reserved === undefined) return wishes;
  const { ipv4, ipv6 } = reserved.addresses;
  return {
    ...wishes,
    IPAMConfig: {
      ...wishes.IPAMConfig,
      ...(ipv4 && { IPv4Address: ipv4 }),
      ...(ipv6 && { IPv6Address: ipv6 }),
    },
  };
}

/** An endpoint that was taken, with what was asked. */
export interface TakenEndpoint {
  endpoint: PlannedEndpoint;
  asked: EndpointRequest;
  made: DriverEndpoint;
}

/** Its part of the program, once whoever makes its link has done so; enters into `held` what is known only then. */
export async function attachEndpoint(
  { endpoint, asked, made }: TakenEndpoint,
  parts: { request: SandboxRequest; held: HeldSandbox; wanted: readonly WantedPort[] },
): Promise<SandboxProgram> {
  const { driver, record } = endpoint.network;
  if (driver.attach === undefined) return made.program;
  const { request, held, wanted } = parts;
  const attached = await driver.attach(
    {
      ...asked,
      sandboxKey: held.sandboxKey,
      exposedPorts: request.exposedPorts,
      wanted,
      nameLink: (prefix) => freeName(held, record.name, prefix),
    },
    made,
  );
  const shown = held.endpoints[record.name];
  if (shown !== undefined) held.endpoints[record.name] = { ...shown, ...placeOf(attached.settings) };
  if (attached.moved === undefined) delete held.links[record.name];
  else held.links[record.name] = { veth: "", index: asked.link.index, ...attached.moved };
  return attached.program;
}

/** "eth" with the first number that no other link inside has. */
function freeName(held: HeldSandbox, network: string, prefix: string): string {
  const taken = Object.entries(held.links).flatMap(([name, link]) => (name === network ? [] : [link.name]));
  for (let number = 0; ; number++) if (!taken.includes(`${prefix}${number}`)) return `${prefix}${number}`;
}

function placeOf(settings: EndpointSettings) {
  const { MacAddress, Gateway, IPAddress, IPPrefixLen } = settings;
  const { IPv6Gateway, GlobalIPv6Address, GlobalIPv6PrefixLen } = settings;
  return {
    MacAddress,
    Gateway,
    IPAddress,
    IPPrefixLen,
    IPv6Gateway,
    GlobalIPv6Address,
    GlobalIPv6PrefixLen,
  };
}
