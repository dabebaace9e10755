/**
 * What a network can do, whatever its driver: the contract between the controller and null, host, bridge, macvlan and ipvlan.
 *
 * One object is one network. It owns what the network has on the host (interface, rules, addresses) and decides how an
 * endpoint looks; which endpoints there are, in what order, and which of them gives the default route is the
 * controller's to say. Nothing here enters a container's namespace: an endpoint is a program of netlink messages.
 */
import type { EndpointSettings } from "#api-types/network.ts";
import type { LinkRule } from "#networks/firewall/desired-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";
import type { WantedPort } from "#networks/ports/port-spec.ts";
import type { SandboxProgram } from "#runtime/launch-types.ts";

/** What an endpoint is asked for. */
export interface EndpointRequest {
  /** 64 hexadecimal digits. */
  endpointId: string;
  containerName: string;
  /** What the user asked of this endpoint. */
  wishes: Partial<EndpointSettings>;
  /** "" for one made from the address. */
  macAddress: string;
  /** The interface inside: its name, and its index, free in that namespace. */
  link: { name: string; index: number };
  /** Its gateway becomes the default route of these families. */
  defaultRoute: { ipv4: boolean; ipv6: boolean };
  /** Some network of this namespace has IPv6: where this one has not, it is switched off for its link alone. */
  namespaceHasIpv6: boolean;
  /** Ports will be published on it: the container may reach itself through the network. */
  publishes: boolean;
}

/** The same for drivers that have others make their links: what those want to know. */
export interface AttachRequest extends EndpointRequest {
  sandboxKey: string;
  /** "80/tcp" */
  exposedPorts: readonly string[];
  wanted: readonly WantedPort[];
  /** A name for the interface inside that begins so, and is free there. */
  nameLink: (prefix: string) => string;
}

export interface DriverEndpoint {
  settings: EndpointSettings;
  /** This interface's part of the program. */
  program: SandboxProgram;
  /** The link on the host's side; "" for none: then the one inside, if the program makes one, is all there is. */
  veth: string;
  /** Families whose default route is the link itself, without a gateway. */
  onLink?: readonly Family[];
  /** The interface inside where it is a link of the host's: its name there, and the one it goes back with. */
  moved?: { name: string; former: string };
}

/** Who publishes: the endpoint, and its addresses. */
export interface PortOwner {
  endpointId: string;
  containerName: string;
  /** "" where it has none of that family. */
  containerIp: string;
  containerIp6: string;
}

/** What containers of a former daemon have published, by endpoint id. */
export type PublishedBefore = ReadonlyMap<string, { owner: PortOwner; ports: readonly PublishedPort[] }>;

export interface NetworkDriver {
  /** Whether its containers have a namespace of their own. */
  readonly ownNamespace: boolean;
  /** Whether endpoints get IPv6 addresses. */
  readonly hasIpv6: boolean;
  /** The families its endpoints can give a default route of. */
  readonly routes: { ipv4: boolean; ipv6: boolean };
  /** The IPv4 address containers reach the host at; undefined where there is none. */
  readonly gateway: string | undefined;
  /** Makes what the network has on the host, or finds it again. Idempotent. */
  start(published: PublishedBefore): Promise<void>;
  /** Once in a network's life, before its first start. Where it rejects, nothing is made. */
  create?(): Promise<void>;
  /** Takes addresses. Call inside a transaction that also writes the row of the holder; a failure undoes both. */
  take(request: EndpointRequest): DriverEndpoint;
  /** Resolves when no link of a container that has just ended stands in the way of one with this MAC address. */
  clear?(mac: string): Promise<void>;
  /** Completes what was taken, where that takes time; after the transaction. What it rejects with, `leave` undoes. */
  attach?(request: AttachRequest, taken: DriverEndpoint): Promise<DriverEndpoint>;
  /** Takes ports of the host, or none of them. What the port proxy serves of them is reachable from then on. */
  takePorts(owner: PortOwner, wanted: readonly WantedPort[]): PublishedPort[] | Promise<PublishedPort[]>;
  /** Resolves when the ports lead to the container. */
  publish(owner: PortOwner, published: readonly PublishedPort[]): Promise<void>;
  /** Gives ports back, and nothing else. Never rejects. */
  withdraw(endpointId: string, published: readonly PublishedPort[]): Promise<void>;
  /**
   * Lets an endpoint connect to ports of others where the network keeps its endpoints apart, in place of what it was
   * let before. May come before `start`, with what a former daemon noted.
   */
  permit?(endpointId: string, links: readonly LinkRule[]): Promise<void>;
  /** Gives back all an endpoint has; resolves when that is done. Its link goes with its namespace. Never rejects. */
  leave(endpointId: string, published: readonly PublishedPort[]): Promise<void>;
  /** Resolves when addresses given back so far can be had by who asks for one of them; undefined where they always can. */
  freed?(): Promise<void>;
  /** After a restart of the daemon: takes again what a running container has published. */
  resume(owner: PortOwner, published: readonly PublishedPort[]): void;
  /** Gives back the addresses of all endpoints but these. */
  releaseOthers(endpoints: ReadonlySet<string>): void;
  /** Deletes links of containers that are not among these. */
  sweepLinks(keep: () => ReadonlySet<string>): Promise<void>;
  /** Takes what the network has on the host away; it has no endpoints. */
  remove(): Promise<void>;
  /** Resolves when nothing is under way any more; running containers keep everything. */
  stop(): Promise<void>;
}
