/**
 * Ports as the API writes them: "80/tcp", "8000-8010/udp", host ports and host addresses. Pure.
 */
import type { PortBinding } from "#api-types/network.ts";
import { BerthError } from "#errors/errors.ts";
import { formatAddress, parseAddress } from "#networks/ipam/prefix.ts";

export type Protocol = "tcp" | "udp" | "sctp";

/** One container port and where on the host it should appear. */
export interface WantedPort {
  protocol: Protocol;
  containerPort: number;
  /** Address as the user gave it; "" for the network's default. */
  hostIp: string;
  /** Candidates, first to last; undefined for any free one. */
  hostPorts: { first: number; last: number } | undefined;
}

/** Parses "80/tcp" or "80" (tcp); undefined if malformed. */
export function parsePort(text: string): { port: number; protocol: Protocol } | undefined {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const port = Number(match?.[1]);
  if (match === null || port < 1 || port > 65_535) return undefined;
  return { port, protocol: (match[2]?.toLowerCase() ?? "tcp") as Protocol };
}

/** "8080" or "8000-8010"; "" and "0" mean any. Undefined if malformed. */
function parseHostPorts(text: string): { first: number; last: number } | "any" | undefined {
  if (text === "" || text === "0") return "any";
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

export interface PortRequest {
  portBindings: Record<string, PortBinding[]>;
  exposedPorts: readonly string[];
  publishAllPorts: boolean;
}

/**
 * Everything to be published: exact ports first, which random ones must not take away, then by protocol and container
 * port, so that the same request always gets its random ports in the same order. Throws "invalid" for what cannot be parsed, with Docker's texts.
 */
export function wantedPorts(request: PortRequest): WantedPort[] {
  const wanted: WantedPort[] = [];
  const bound = new Set<string>();
  for (const [key, bindings] of Object.entries(request.portBindings)) {
    const parsed = parsePort(key) ?? malformed(key);
    bound.add(`${parsed.port}/${parsed.protocol}`);
    // An empty list publishes at random, as `-p 80` does.
    const list = bindings?.length ? bindings : [{ HostIp: "", HostPort: "" }];
    for (const binding of list) {
      const hostPorts = parseHostPorts(binding.HostPort) ?? malformed(binding.HostPort);
      wanted.push({
        protocol: parsed.protocol,
        containerPort: parsed.port,
        hostIp: binding.HostIp ? hostAddress(binding.HostIp) : "",
        hostPorts: hostPorts === "any" ? undefined : hostPorts,
      });
    }
  }
  if (request.publishAllPorts) {
    for (const key of request.exposedPorts) {
      const parsed = parsePort(key) ?? malformed(key);
      if (bound.has(`${parsed.port}/${parsed.protocol}`)) continue;
      wanted.push({
        protocol: parsed.protocol,
        containerPort: parsed.port,
        hostIp: "",
        hostPorts: undefined,
      });
    }
  }
  return wanted.sort(
    (a, b) => choices(a) - choices(b) || compare(a.protocol, b.protocol) || a.containerPort - b.containerPort,
  );
}

/** 0 for one port, 1 for a range, 2 for any. */
function choices({ hostPorts }: WantedPort): number {
  if (hostPorts === undefined) return 2;
  return hostPorts.first === hostPorts.last ? 0 : 1;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function hostAddress(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new BerthError("invalid", `invalid IP address: ${text}`, {
      operation: "publish port",
      object: text,
    });
  }
  return formatAddress(address);
}

function malformed(text: string): never {
  throw new BerthError("invalid", `invalid port specification: "${text}"`, {
    operation: "publish port",
    object: text,
    hint: "a port is a number from 1 to 65535 and tcp, udp or sctp: 80/tcp",
  });
}

/** The `Ports` of docker inspect: exposed but unpublished ones have null. */
export function portMap(
  exposed: readonly string[],
  published: readonly { protocol: Protocol; containerPort: number; hostIp: string; hostPort: number }[],
): Record<string, PortBinding[] | null> {
  const map: Record<string, PortBinding[] | null> = {};
  for (const key of exposed) {
    const parsed = parsePort(key);
    if (parsed !== undefined) map[`${parsed.port}/${parsed.protocol}`] = null;
  }
  for (const port of published) {
    const key = `${port.containerPort}/${port.protocol}`;
    // Without a port of the host where the container is reached by its own address.
    const binding = { HostIp: port.hostIp, HostPort: port.hostPort === 0 ? "" : String(port.hostPort) };
    map[key] = [...(map[key] ?? []), binding];
  }
  return map;
}
