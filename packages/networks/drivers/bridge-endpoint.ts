/**
 * What the user may ask of one endpoint on a bridge beside its addresses: link-local addresses and settings of the
 * interface. Pure.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import { type Address, parseAddress } from "#networks/ipam/prefix.ts";

/** Driver options of an endpoint (`--network name=…,driver-opt=…`). */
const sysctlsOption = "com.docker.network.endpoint.sysctls";
export const interfaceNameOption = "com.docker.network.endpoint.ifname";

export interface EndpointOptions {
  linkLocal: Address[];
  /** Files under /proc/sys and their values. */
  sysctls: Record<string, string>;
}

export function endpointOptions(wishes: Partial<EndpointSettings>, interfaceName: string): EndpointOptions {
  const linkLocal = (wishes.IPAMConfig?.LinkLocalIPs ?? []).flatMap((text) => parseAddress(text) ?? []);
  const settings = parseSysctls(wishes.DriverOpts?.[sysctlsOption] ?? "").map(
    ([name, value]) => [name.replace("IFNAME", interfaceName), value] as const,
  );
  return { linkLocal, sysctls: Object.fromEntries(settings) };
}

/** Entries of the option that name no setting of the endpoint's own interface. */
export function badSysctls(wishes: Partial<EndpointSettings>): string[] {
  const text = wishes.DriverOpts?.[sysctlsOption] ?? "";
  return text === "" ? [] : text.split(",").filter((entry) => parseSysctls(entry).length === 0);
}

/** "net.ipv4.conf.IFNAME.log_martians=1,…" → paths with IFNAME in them, and values. */
function parseSysctls(text: string): [string, string][] {
  return text.split(",").flatMap((entry): [string, string][] => {
    const match =
      /^net\.(ipv4|ipv6|mpls)\.([a-z0-9_-]+)\.ifname\.([a-z0-9_-]+(?:\/[a-z0-9_-]+)*)=(.*)$/i.exec(entry);
    return match === null ? [] : [[`net/${match[1]}/${match[2]}/IFNAME/${match[3]}`, match[4] ?? ""]];
  });
}
