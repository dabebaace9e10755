/**
 * Where a registry is reached: which base URLs to try for a domain, in which order, and how far TLS is trusted.
 *
 * HTTPS with verification, except for hosts the administrator named (`insecure-registries`) and for loopback: there
 * HTTPS without verification is tried first, then plain HTTP. Mirrors serve docker.io only and come first.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { defaultDomain } from "../reference.ts";
import { type ProxySettings, proxyFromEnvironment } from "./proxy.ts";
import { certificateDirectories, makeTransport, readCertificates, type Transport } from "./transport.ts";

export interface Endpoint {
  /** "https://registry.example:5000", no slash at the end. */
  base: string;
  transport: Transport;
  mirror: boolean;
}

/** The host that serves docker.io. */
const dockerHub = "https://registry-1.docker.io";

export interface EndpointOptions {
  insecureRegistries: readonly string[];
  registryMirrors: readonly string[];
  /** Where `<host:port>/ca.crt` and the like are looked for. */
  certificateDirectories?: readonly string[];
  /** Of daemon.json; the environment's where there are none. */
  proxy?: ProxySettings;
  /** Milliseconds without a byte before a connection counts as dead. */
  patience?: number;
}

/** Base URLs to try for `domain`, best first; never empty. Throws "invalid" for unusable certificate files. */
export async function endpointsFor(domain: string, options: EndpointOptions): Promise<Endpoint[]> {
  if (domain === defaultDomain) {
    const mirrors = await Promise.all(
      options.registryMirrors.map((mirror) => mirrorEndpoints(mirror, options)),
    );
    return [
      ...mirrors.flat(),
      { base: dockerHub, transport: await transportTo(hostIn(dockerHub), options), mirror: false },
    ];
  }
  const transport = await transportTo(domain, options);
  const secure = { base: `https://${domain}`, transport, mirror: false };
  return transport.insecure ? [secure, { ...secure, base: `http://${domain}` }] : [secure];
}

async function mirrorEndpoints(mirror: string, options: EndpointOptions): Promise<Endpoint[]> {
  const base = mirror.replace(/\/+$/, "");
  return [{ base, transport: await transportTo(hostIn(base), options), mirror: true }];
}

/** How far the registry at `host[:port]` is trusted and by what way it is reached. */
async function transportTo(host: string, options: EndpointOptions): Promise<Transport> {
  const { certificateDirectories: directories = certificateDirectories, proxy, patience } = options;
  return makeTransport({
    insecure: await isInsecure(host, options.insecureRegistries),
    ...(await readCertificates(host, directories)),
    proxy: proxy ?? proxyFromEnvironment(),
    ...(patience === undefined ? {} : { patience }),
  });
}

function hostIn(base: string): string {
  return URL.parse(base)?.host ?? base;
}

/** Is `domain` ("host", "host:port") one of the listed hosts, or inside one of the listed address ranges? */
export async function isInsecure(domain: string, listed: readonly string[]): Promise<boolean> {
  if (listed.includes(domain)) return true;
  const host = hostOf(domain);
  if (host === "localhost") return true;
  const ranges = insecureRanges(listed);
  if (isIP(host) !== 0) return inRanges(ranges.all, host);
  if (!ranges.configured) return false;
  try {
    const addresses = await lookup(host, { all: true });
    return addresses.some(({ address }) => inRanges(ranges.all, address));
  } catch {
    return false; // no such host: the connection will say so in its own words
  }
}

function insecureRanges(listed: readonly string[]): { all: BlockList; configured: boolean } {
  const all = new BlockList();
  all.addSubnet("127.0.0.0", 8, "ipv4");
  all.addAddress("::1", "ipv6");
  let configured = false;
  for (const entry of listed) {
    const [address = "", bits = ""] = entry.split("/");
    const family = isIP(address);
    if (family === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) continue;
    all.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
    configured = true;
  }
  return { all, configured };
}

function inRanges(ranges: BlockList, address: string): boolean {
  return ranges.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function hostOf(domain: string): string {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(domain);
  return bracketed?.[1] ?? domain.replace(/:\d+$/, "");
}
