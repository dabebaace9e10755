/**
 * --network, short (`net1`) and long (`name=net1,alias=a`), and what it makes of the flags of an older time that spoke
 * of the only network a container had: --network-alias, --ip, --link and the like now belong to the first.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { parseCsvLine } from "#cli/csv.ts";
import type { FlagValues } from "#cli/flags.ts";

export interface NetworkAttachment {
  target: string;
  aliases: string[];
  links: string[];
  driverOptions: Record<string, string>;
  ipv4: string;
  ipv6: string;
  linkLocal: string[];
  mac: string;
  gatewayPriority: number;
}

/** Throws Error with Docker's text. */
export function parseNetwork(text: string): NetworkAttachment {
  const network: NetworkAttachment = {
    target: text,
    aliases: [],
    links: [],
    driverOptions: {},
    ipv4: "",
    ipv6: "",
    linkLocal: [],
    mac: "",
    gatewayPriority: 0,
  };
  if (!text.includes("=")) return network;
  network.target = "";
  for (const field of parseCsvLine(text)) {
    const equals = field.indexOf("=");
    if (equals <= 0) throw new Error(`invalid field ${field}`);
    const key = field.slice(0, equals).trim().toLowerCase();
    const value = field.slice(equals + 1).trim();
    if (key === "name") network.target = value;
    else if (key === "alias") network.aliases.push(value);
    else if (key === "ip") network.ipv4 = value;
    else if (key === "ip6") network.ipv6 = value;
    else if (key === "mac-address") network.mac = value;
    else if (key === "link-local-ip") network.linkLocal.push(value);
    else if (key === "driver-opt") {
      const [name = "", ...rest] = value.split("=");
      if (rest.length === 0) throw new Error(`invalid key value pair format in driver options`);
      network.driverOptions[name.trim().toLowerCase()] = rest.join("=").trim();
    } else if (key === "gw-priority") {
      if (!/^[+-]?\d+$/.test(value))
        throw new Error(`invalid gw-priority (${value}): value must be an integer: invalid syntax`);
      network.gatewayPriority = Number(value);
    } else throw new Error(`invalid field key ${key}`);
  }
  if (network.target === "") throw new Error("network name/id is not specified");
  return network;
}

/** NetworkMode and EndpointsConfig of the flags. Throws Error with Docker's text. */
export function networkSettings(flags: FlagValues): {
  mode: string;
  endpoints: Record<string, EndpointSettings>;
} {
  const given = [...flags.list<NetworkAttachment>("net"), ...flags.list<NetworkAttachment>("network")];
  const networks = given.length > 0 ? given : [parseNetwork("default")];
  const endpoints: Record<string, EndpointSettings> = {};
  let userDefined = 0;
  for (const [index, network] of networks.entries()) {
    if (isUserDefined(network.target)) userDefined++;
    if (index === 0) addContainerFlags(network, flags);
    const endpoint = endpointOf(network);
    if (network.target in endpoints)
      throw new Error(`network "${network.target}" is specified multiple times`);
    // A single network without options is left to NetworkMode alone.
    if (
      given.length === 1 &&
      JSON.stringify(endpoint) === JSON.stringify(endpointOf(parseNetwork("default")))
    )
      continue;
    endpoints[network.target] = endpoint;
  }
  if (userDefined > 0 && userDefined < networks.length)
    throw new Error(
      "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
    );
  return { mode: networks[0]?.target ?? "default", endpoints };
}

function isUserDefined(target: string): boolean {
  return !["default", "bridge", "host", "none"].includes(target) && !target.startsWith("container:");
}

function addContainerFlags(network: NetworkAttachment, flags: FlagValues): void {
  const conflict = (flag: string, what: string) =>
    new Error(`conflicting options: cannot specify both --${flag} and per-network ${what}`);
  const aliases = [...flags.list("net-alias"), ...flags.list("network-alias")];
  if (aliases.length > 0) {
    if (network.aliases.length > 0) throw conflict("network-alias", "alias");
    network.aliases = aliases;
  }
  if (flags.has("link") && isUserDefined(network.target)) network.links = flags.list("link");
  if (flags.has("ip")) {
    if (network.ipv4) throw conflict("ip", "IPv4 address");
    network.ipv4 = flags.string("ip");
  }
  if (flags.has("ip6")) {
    if (network.ipv6) throw conflict("ip6", "IPv6 address");
    network.ipv6 = flags.string("ip6");
  }
  if (flags.has("mac-address")) {
    if (network.mac) throw conflict("mac-address", "MAC address");
    network.mac = flags.string("mac-address");
  }
  if (flags.has("link-local-ip")) {
    if (network.linkLocal.length > 0) throw conflict("link-local-ip", "link-local IP addresses");
    network.linkLocal = flags.list("link-local-ip");
  }
}

function endpointOf(network: NetworkAttachment): EndpointSettings {
  if (network.target.trim() === "") throw new Error("no name set for network");
  if (!isUserDefined(network.target)) {
    if (network.aliases.length > 0)
      throw new Error("network-scoped aliases are only supported for user-defined networks");
    if (network.links.length > 0) throw new Error("links are only supported for user-defined networks");
  }
  const mac = network.mac.trim();
  if (mac !== "" && !/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(mac))
    throw new Error(`${mac} is not a valid mac address`);
  const addresses = {
    ...(network.ipv4 && { IPv4Address: network.ipv4 }),
    ...(network.ipv6 && { IPv6Address: network.ipv6 }),
    ...(network.linkLocal.length > 0 && { LinkLocalIPs: network.linkLocal }),
  };
  return {
    IPAMConfig: Object.keys(addresses).length > 0 ? addresses : null,
    Links: network.links.length > 0 ? network.links : null,
    Aliases: network.aliases.length > 0 ? network.aliases : null,
    MacAddress: mac,
    DriverOpts: Object.keys(network.driverOptions).length > 0 ? network.driverOptions : null,
    GwPriority: network.gatewayPriority,
    NetworkID: "",
    EndpointID: "",
    Gateway: "",
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}
