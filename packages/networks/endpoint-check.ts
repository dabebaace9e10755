/**
 * Refusing endpoint settings that a network cannot give, all at once and with Docker's texts. Pure.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { isInterfaceName, parseMac } from "#kernel/netlink/link-messages.ts";
import { badSysctls, interfaceNameOption } from "#networks/drivers/bridge-endpoint.ts";
import { isUserDefined } from "#networks/endpoint-plan.ts";
import { contains, type Family, parseAddress, parseCidr } from "#networks/ipam/prefix.ts";
import type { Network } from "#networks/network-table.ts";

export function checkEndpointSettings(network: Network, settings: Partial<EndpointSettings>): void {
  const problems = [
    ...addressProblems(network, settings),
    ...(!isUserDefined(network) && (settings.Aliases ?? []).length > 0
      ? ["network-scoped aliases are only supported for user-defined networks"]
      : []),
    ...(settings.Aliases ?? [])
      .filter((alias) => !isAskable(alias))
      .map(
        (alias) =>
          `invalid alias ${JSON.stringify(alias)}: a name consists of labels of 1 to 63 characters, without spaces, joined by dots`,
      ),
    ...(settings.MacAddress && parseMac(settings.MacAddress) === undefined
      ? [`invalid MAC address ${settings.MacAddress}`]
      : []),
    ...badSysctls(settings).map(
      (entry) =>
        `unrecognised network interface sysctl '${entry}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
    ),
    ...interfaceProblems(settings),
  ];
  if (problems.length === 0) return;
  throw new BerthError("invalid", `invalid endpoint settings:\n${problems.join("\n")}`, {
    operation: "create endpoint",
    object: network.record.name,
  });
}

/** Can a name server be asked for it? Sizes: RFC 1035, 2.3.4. Programs ask for more than host names may hold: `_`, for one. */
function isAskable(name: string): boolean {
  if (Buffer.byteLength(name) > 253) return false;
  return name.split(".").every((label) => /^[^\s\p{Cc}]+$/u.test(label) && Buffer.byteLength(label) <= 63);
}

function interfaceProblems(settings: Partial<EndpointSettings>): string[] {
  const name = settings.DriverOpts?.[interfaceNameOption];
  return name === undefined || isInterfaceName(name) ? [] : [`invalid interface name ${name}`];
}

function addressProblems(network: Network, settings: Partial<EndpointSettings>): string[] {
  const { IPv4Address = "", IPv6Address = "", LinkLocalIPs = [] } = settings.IPAMConfig ?? {};
  const problems = (LinkLocalIPs ?? [])
    .filter((text) => parseAddress(text) === undefined)
    .map((text) => `invalid link-local IP address: ${text}`);
  if (IPv4Address === "" && IPv6Address === "") return problems;
  if (!isUserDefined(network)) {
    return [...problems, "user specified IP address is supported on user defined networks only"];
  }
  const { config } = network.record;
  return [
    ...problems,
    ...wished(4, IPv4Address, config.chosenSubnet ? config.subnet : undefined),
    ...wished(6, IPv6Address, config.chosenSubnet6 ? config.ipv6?.subnet : undefined),
  ];
}

function wished(family: Family, text: string, subnet: string | undefined): string[] {
  if (text === "") return [];
  const address = parseAddress(text);
  if (address?.family !== family) return [`invalid IPv${family} address: ${text}`];
  if (subnet === undefined) {
    return [
      "user specified IP address is supported only when connecting to networks with user configured subnets",
    ];
  }
  const prefix = parseCidr(subnet)?.prefix;
  return prefix !== undefined && contains(prefix, address)
    ? []
    : [`no configured subnet or ip-range contain the IP address ${text}`];
}
