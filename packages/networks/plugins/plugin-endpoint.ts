/**
 * What a network plugin is told of an endpoint's ports, and what its answer becomes: the settings clients see, and the program
 * that takes the plugin's link into the container.
 */
import { BerthError } from "#errors/errors.ts";
import { addRoute } from "#kernel/netlink/address-messages.ts";
import { changeLink, formatMac, moveLink, parseMac } from "#kernel/netlink/link-messages.ts";
import { endpointOptions } from "#networks/drivers/bridge-endpoint.ts";
import type { AttachRequest, DriverEndpoint } from "#networks/drivers/driver-types.ts";
import { emptyProgram, linkProgram } from "#networks/drivers/sandbox-program.ts";
import { type Address, addressBytes, parseAddress, parseCidr } from "#networks/ipam/prefix.ts";
import type { JoinAnswer } from "#networks/plugins/network-plugin.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import type { NetlinkRequest } from "#runtime/launch-types.ts";

/** Docker's names of what plugins are told (netlabel). */
const EXPOSED = "com.docker.network.endpoint.exposedports";
const PORT_MAP = "com.docker.network.portmap";

/** linux/in.h */
const PROTOCOLS: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 };

/** A link on the host, made by the plugin. */
export interface SourceLink {
  index: number;
  mac: string;
}

/** Ports that the container exposes and publishes, as plugins are told them. */
export function portOptions({ exposedPorts, wanted }: AttachRequest): Record<string, unknown> {
  return { [EXPOSED]: exposedPorts.map(exposed), [PORT_MAP]: wanted.map(binding) };
}

/** The endpoint that container and clients get of what the plugin answered. `sourceOf`: the link on the host by its name. */
export function pluginEndpoint(
  request: AttachRequest,
  has: { Address: string; AddressIPv6: string; MacAddress: string },
  joined: JoinAnswer,
  taken: DriverEndpoint,
  sourceOf: (name: string) => SourceLink,
): DriverEndpoint {
  const ipv4 = parseCidr(has.Address);
  const ipv6 = parseCidr(has.AddressIPv6);
  const gateways = [joined.gateway, joined.gateway6].map((text) => parseAddress(bare(text)));
  const settings = {
    ...taken.settings,
    MacAddress: has.MacAddress,
    ...(ipv4 && { IPAddress: bare(has.Address), IPPrefixLen: ipv4.prefix.length }),
    ...(ipv6 && { GlobalIPv6Address: bare(has.AddressIPv6), GlobalIPv6PrefixLen: ipv6.prefix.length }),
    Gateway: bare(joined.gateway),
    IPv6Gateway: bare(joined.gateway6),
  };
  if (joined.source === "") return { settings, program: emptyProgram(), veth: "" };
  const source = sourceOf(joined.source);
  const link = { name: joined.name || request.nameLink(joined.prefix), index: request.link.index };
  const moved = moveLink(source.index, link);
  const mac = parseMac(has.MacAddress);
  const own = endpointOptions(request.wishes, link.name);
  const inside = linkProgram({
    link,
    ipv4: ipv4 && { address: ipv4.address, subnet: ipv4.prefix },
    ipv6: ipv6 && { address: ipv6.address, subnet: ipv6.prefix },
    linkLocal: own.linkLocal,
    gateways: [],
    namespaceHasIpv6: request.namespaceHasIpv6,
    sysctls: own.sysctls,
  });
  return {
    settings: { ...settings, MacAddress: has.MacAddress || source.mac },
    program: {
      host: [{ why: `move ${joined.source} into the container`, bytes: moved.bytes, pidAt: [moved.pidAt] }],
      container: [
        ...(mac === undefined
          ? []
          : [
              {
                why: `set the MAC address ${formatMac(mac)}`,
                bytes: changeLink(link.index, { mac }),
                pidAt: [],
              },
            ]),
        ...inside.container,
        // Static routes first: the gateway may be reached by one of them.
        ...joined.routes.map((route) => staticRoute(link, route)),
        ...gateways.flatMap((gateway, index) => {
          const wanted = index === 0 ? request.defaultRoute.ipv4 : request.defaultRoute.ipv6;
          return wanted && gateway !== undefined
            ? [staticRoute(link, { destination: "", nextHop: gateway })]
            : [];
        }),
      ],
      sysctls: inside.sysctls,
    },
    veth: "",
    moved: { name: link.name, former: joined.source },
  };
}

function staticRoute(
  link: { name: string; index: number },
  route: { destination: string; nextHop: string | Address },
): NetlinkRequest {
  const prefix = parseCidr(route.destination)?.prefix;
  const hop = typeof route.nextHop === "string" ? parseAddress(bare(route.nextHop)) : route.nextHop;
  if ((prefix === undefined && route.destination !== "") || (hop === undefined && prefix === undefined)) {
    throw new BerthError("internal", `no route: ${route.destination} through ${String(route.nextHop)}`, {
      operation: "join network",
      object: route.destination,
    });
  }
  return {
    why: `add the route to ${route.destination || "everywhere"} through ${link.name}`,
    bytes: addRoute({
      link: link.index,
      ...(prefix !== undefined && {
        destination: {
          address: addressBytes({ family: prefix.family, value: prefix.first }),
          prefixLength: prefix.length,
        },
      }),
      ...(hop !== undefined && { gateway: addressBytes(hop) }),
    }),
    pidAt: [],
  };
}

function exposed(port: string) {
  const [number, protocol = "tcp"] = port.split("/");
  return { Proto: PROTOCOLS[protocol] ?? 0, Port: Number(number) };
}

function binding(port: WantedPort) {
  return {
    Proto: PROTOCOLS[port.protocol] ?? 0,
    IP: "",
    Port: port.containerPort,
    HostIP: port.hostIp,
    HostPort: port.hostPorts?.first ?? 0,
    HostPortEnd: port.hostPorts?.last ?? 0,
  };
}

export function withLength(address: string, length: number): string {
  return address === "" ? "" : `${address}/${length}`;
}

function bare(address: string): string {
  return address.split("/")[0] ?? "";
}
