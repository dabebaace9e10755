/**
 * Which proxy a request takes: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go's programs, dockerd among them, read them.
 *
 * Pure but for `proxyFromEnvironment`.
 */
import { BlockList, isIP } from "node:net";

export interface ProxySettings {
  /** Addresses of the proxies for http: and https: requests; empty: none. */
  http: string;
  https: string;
  /** Hosts that are reached directly, with commas between. */
  no: string;
}

export const noProxy: ProxySettings = { http: "", https: "", no: "" };

/** What the environment says; lower-case names count where the upper-case ones are missing. */
export function proxyFromEnvironment(environment: NodeJS.ProcessEnv = process.env): ProxySettings {
  const value = (name: string) => environment[name] || environment[name.toLowerCase()] || "";
  return { http: value("HTTP_PROXY"), https: value("HTTPS_PROXY"), no: value("NO_PROXY") };
}

/** The proxy's address for `url`, or undefined for a direct connection. */
export function proxyFor(url: URL, settings: ProxySettings): string | undefined {
  const proxy = url.protocol === "https:" ? settings.https : settings.http;
  if (proxy === "" || isExcluded(url, settings.no)) return undefined;
  return proxy;
}

/** Loopback always is; else an address, a range, a domain with what is below it, ".domain" for what is below only, or "*". */
function isExcluded(url: URL, listed: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  if (host === "localhost" || inRange(host, "127.0.0.0/8") || inRange(host, "::1/128")) return true;
  return listed
    .split(",")
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== "" && excludes(entry, host, port));
}

function excludes(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  if (entry.includes("/")) return inRange(host, entry);
  if (isIP(entry) !== 0) return entry === host;
  const [, name = "", onlyPort] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  if (isIP(host) !== 0) return name === host;
  const domain = name.replace(/^\*?\./, "");
  const below = host.endsWith(`.${domain}`);
  return name === domain ? host === domain || below : below;
}

function inRange(host: string, range: string): boolean {
  const family = isIP(host);
  const [address = "", bits = ""] = range.split("/");
  if (family === 0 || isIP(address) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
  return list.check(host, family === 4 ? "ipv4" : "ipv6");
}
