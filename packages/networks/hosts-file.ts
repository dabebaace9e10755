/**
 * The contents of a container's /etc/hosts. Pure.
 */

/** What every container knows, in Docker's order. */
const standard: readonly (readonly [address: string, names: string])[] = [
  ["127.0.0.1", "localhost"],
  ["::1", "localhost ip6-localhost ip6-loopback"],
  ["fe00::", "ip6-localnet"],
  ["ff00::", "ip6-mcastprefix"],
  ["ff02::1", "ip6-allnodes"],
  ["ff02::2", "ip6-allrouters"],
];

export interface HostsRequest {
  hostname: string;
  domainname: string;
  /** The container's own addresses. */
  addresses: readonly string[];
  /** "name:address", as --add-host has them; "host-gateway" as address means `hostGateways`. */
  extraHosts: readonly string[];
  /** Addresses of the host as containers see it, one a family at most; none drops entries that ask for them. */
  hostGateways: readonly string[];
}

export function hostsFile(request: HostsRequest): string {
  const { hostname, domainname } = request;
  const own = domainname === "" ? hostname : `${hostname}.${domainname} ${hostname}`;
  return [
    ...standard,
    ...extraEntries(request),
    ...(hostname === "" ? [] : request.addresses.map((address) => [address, own] as const)),
  ]
    .map(([address, names]) => `${address}\t${names}\n`)
    .join("");
}

/** The host's own file, for containers on the host's network, with the extra entries behind. */
export function hostsFileOfHost(
  hostFile: string,
  request: Pick<HostsRequest, "extraHosts" | "hostGateways">,
): string {
  const end = hostFile === "" || hostFile.endsWith("\n") ? "" : "\n";
  const extra = extraEntries(request).map(([address, name]) => `${address}\t${name}\n`);
  return `${hostFile}${end}${extra.join("")}`;
}

function extraEntries(
  request: Pick<HostsRequest, "extraHosts" | "hostGateways">,
): (readonly [string, string])[] {
  return request.extraHosts.flatMap((entry) => {
    // The first colon or equals sign parts them: addresses may have colons, names have neither.
    const at = entry.search(/[:=]/);
    if (at <= 0) return [];
    const name = entry.slice(0, at);
    const text = entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
    const addresses = text === "host-gateway" ? request.hostGateways : [text];
    return addresses.filter(Boolean).map((address) => [address, name] as const);
  });
}
