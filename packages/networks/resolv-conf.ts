/**
 * The contents of a container's /etc/resolv.conf, from the host's and what the user asked for. Pure.
 */
import { parseAddress } from "#networks/ipam/prefix.ts";

/** Where nothing else is left; Docker's choice too. */
const publicServers = ["8.8.8.8", "8.8.4.4"];

export interface ResolverRequest {
  /** The host's file. */
  hostFile: string;
  /** Each, when given, takes the place of the host's. A search list of "." means none. */
  dns: readonly string[];
  dnsSearch: readonly string[];
  dnsOptions: readonly string[];
  /**
   * Is the container in a namespace of its own? Then the host's loopback resolvers cannot be reached from it, and
   * without IPv6 neither can servers with such addresses.
   */
  ownNamespace: boolean;
  /** Names of other containers resolve: the file names the server inside the namespace, which asks the others. */
  embedded?: boolean;
}

/** Where containers on users' networks find their name server. */
export const embeddedServer = "127.0.0.11";

interface ResolverFile {
  servers: string[];
  search: string[];
  options: string[];
}

export function resolvConf(request: ResolverRequest): string {
  const host = parse(request.hostFile);
  const overridden = request.dns.length + request.dnsSearch.length + request.dnsOptions.length > 0;
  if (!request.ownNamespace && !overridden) return request.hostFile;
  const search =
    request.dnsSearch.length > 0 ? request.dnsSearch.filter((name) => name !== ".") : host.search;
  const options = [...(request.dnsOptions.length > 0 ? request.dnsOptions : host.options)];
  if (request.embedded && !options.some((option) => option.startsWith("ndots:"))) {
    options.push("ndots:0");
  }
  const list = request.embedded ? [embeddedServer] : servers(request, host);
  const lines = list.map((server) => `nameserver ${server}\n`);
  if (search.length > 0) lines.push(`search ${search.join(" ")}\n`);
  if (options.length > 0) lines.push(`options ${options.join(" ")}\n`);
  return lines.join("");
}

/**
 * The servers that questions go to which the embedded server cannot answer itself: the user's, else the host's. Where
 * the host has none but its own loopback's, these; they have to be asked from the host.
 */
export function upstreamServers(request: ResolverRequest): readonly string[] {
  const host = parse(request.hostFile);
  const listed = servers(request, host);
  const local = host.servers.filter((server) => server.startsWith("127."));
  return listed === publicServers && local.length > 0 ? local : listed;
}

function servers(request: ResolverRequest, host: ResolverFile): readonly string[] {
  if (request.dns.length > 0) return request.dns;
  if (!request.ownNamespace) return host.servers;
  const reachable = host.servers.filter(isReachable);
  return reachable.length > 0 ? reachable : publicServers;
}

/** From a namespace with an IPv4 address of its own. */
function isReachable(server: string): boolean {
  const address = parseAddress(server);
  return address?.family === 4 && address.value >> 24n !== 127n && address.value !== 0n;
}

/** The host's file changes seldom and is read by every start, several times. */
let latest: { text: string; file: Readonly<ResolverFile> } | undefined;

function parse(text: string): Readonly<ResolverFile> {
  if (latest?.text !== text) latest = { text, file: parseText(text) };
  return latest.file;
}

/** resolv.conf(5): the last search or domain line counts, options add up. */
function parseText(text: string): ResolverFile {
  const file: ResolverFile = { servers: [], search: [], options: [] };
  for (const line of text.split("\n")) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    if (keyword === "nameserver" && values[0] !== undefined) file.servers.push(values[0]);
    else if (keyword === "search" || keyword === "domain")
      file.search = values.filter((name) => name !== ".");
    else if (keyword === "options") file.options.push(...values);
  }
  return file;
}

/**
 * Is this the file of systemd-resolved's stub, which only processes of the host can ask? Then the servers behind it
 * are in /run/systemd/resolve/resolv.conf.
 */
export function isStubResolver(hostFile: string): boolean {
  const { servers: list } = parse(hostFile);
  return list.length === 1 && list[0] === "127.0.0.53";
}
