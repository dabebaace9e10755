/** Which name servers a container asks: from the host's files, the daemon's options and the container's own. */
import { readFileSync } from "node:fs";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { NetworkOptions, SandboxRequest } from "#networks/network-types.ts";
import { isStubResolver, type ResolverRequest, upstreamServers } from "#networks/resolv-conf.ts";

export function resolverRequest(
  request: SandboxRequest,
  options: Pick<NetworkOptions, "dns" | "dnsSearch" | "dnsOptions">,
  ownNamespace: boolean,
): ResolverRequest {
  const either = (own: string[], daemon: string[]): string[] => (own.length > 0 ? own : daemon);
  let hostFile = readOr("/etc/resolv.conf", "");
  if (ownNamespace && isStubResolver(hostFile)) {
    hostFile = readOr("/run/systemd/resolve/resolv.conf", hostFile);
  }
  return {
    hostFile,
    dns: either(request.dns, options.dns),
    dnsSearch: either(request.dnsSearch, options.dnsSearch),
    dnsOptions: either(request.dnsOptions, options.dnsOptions),
    ownNamespace,
  };
}

/** Where a container's questions go that are not about containers. */
export function resolverOf(request: ResolverRequest): Omit<HeldSandbox["resolver"], "embedded"> {
  return {
    servers: [...upstreamServers(request)],
    hostServers: request.dns.length === 0,
    keepsShortNames: request.dnsOptions.some((option) => /^ndots:[1-9]/.test(option)),
  };
}

export function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A host without the file is as one with an empty one.
    return fallback;
  }
}
