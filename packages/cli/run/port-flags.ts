/** --publish and --expose: ports and ranges of ports. */
import { isIP } from "node:net";
import type { PortBinding } from "#api-types/network.ts";

export interface PublishedPorts {
  exposed: Record<string, Record<string, never>>;
  bindings: Record<string, PortBinding[]>;
}

interface Range {
  first: number;
  last: number;
}

/** Throws Error with Docker's text. */
export function parsePorts(publish: readonly string[], expose: readonly string[]): PublishedPorts {
  const ports: PublishedPorts = { exposed: {}, bindings: {} };
  for (const text of publish) addPublished(ports, text.includes("=") ? longForm(text) : text);
  for (const text of expose) {
    // What is published is exposed; a host port has no place here.
    if (text.includes(":")) throw new Error(`invalid port format for --expose: ${text}`);
    const [range = "", protocol = "tcp"] = text.split("/");
    const { first, last } = exposeRange(range, text);
    for (let port = first; port <= last; port++) ports.exposed[`${port}/${protocol.toLowerCase()}`] = {};
  }
  return ports;
}

/** "target=80,published=8080,protocol=udp" as "8080:80/udp". */
function longForm(text: string): string {
  const fields: Record<string, string> = {};
  for (const field of text.split(",")) {
    const [key = "", value, ...more] = field.split("=");
    if (value === undefined || more.length > 0)
      throw new Error(`invalid publish opts format (should be name=value but got '${field}')`);
    fields[key] = value;
  }
  return `${fields.published ?? ""}:${fields.target ?? ""}/${fields.protocol ?? "tcp"}`;
}

function addPublished(ports: PublishedPorts, text: string): void {
  const [address, hostText, rest] = splitParts(text);
  const [containerText = "", protocolText] = rest.split("/");
  const protocol = (protocolText || "tcp").toLowerCase();
  if (containerText === "") throw new Error(`no port specified: ${text}<empty>`);
  if (address !== "" && isIP(address) === 0) throw new Error(`invalid IP address: ${address}`);
  const container = range(containerText, "containerPort");
  const host = hostText === "" ? undefined : range(hostText, "hostPort");
  if (!["tcp", "udp", "sctp"].includes(protocol)) throw new Error(`invalid proto: ${protocolText}`);
  const span = container.last - container.first;
  const several = host !== undefined && host.last - host.first !== span;
  // A range of host ports for a single port means: any one of these.
  if (several && span !== 0)
    throw new Error(
      `invalid ranges specified for container and host Ports: ${containerText} and ${hostText}`,
    );
  for (let i = 0; i <= span; i++) {
    const key = `${container.first + i}/${protocol}`;
    const HostPort =
      host === undefined ? "" : several ? `${host.first}-${host.last}` : String(host.first + i);
    ports.exposed[key] = {};
    ports.bindings[key] = [...(ports.bindings[key] ?? []), { HostIp: address, HostPort }];
  }
}

/** address, host port, container port: from the right, so that an IPv6 address needs no brackets. */
function splitParts(text: string): [address: string, host: string, container: string] {
  const parts = text.split(":");
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  return [parts.join(":").replace(/^\[(.*)\]$/, "$1"), host, container];
}

function range(text: string, what: string): Range {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > 65535 || last > 65535 || last < first) throw new Error(`invalid ${what}: ${text}`);
  return { first, last };
}

function exposeRange(text: string, whole: string): Range {
  const fail = (why: string) => new Error(`invalid range format for --expose: ${whole}, error: ${why}`);
  const [start = "", end = start] = text.split("-");
  for (const part of [start, end]) {
    if (part === "") throw fail("empty string specified for ports");
    if (!/^\d+$/.test(part)) throw fail(`strconv.ParseUint: parsing "${part}": invalid syntax`);
    if (Number(part) > 65535) throw fail(`strconv.ParseUint: parsing "${part}": value out of range`);
  }
  if (Number(end) < Number(start)) throw fail(`invalid range specified for port: ${text}`);
  return { first: Number(start), last: Number(end) };
}
