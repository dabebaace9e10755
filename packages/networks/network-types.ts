/**
 * The container network model as the engine uses it.
 *
 * A *sandbox* is a container's network namespace with what it holds; an *endpoint* joins it to a *network*; the
 * controller owns the three and the drivers. Rows are written before the thing they own is made and removed after.
 */
import type {
  EndpointSettings,
  NetworkCreateRequest,
  NetworkResource,
  PortBinding,
} from "#api-types/network.ts";
import type { LinkedPeer } from "#networks/sandbox/linked-endpoints.ts";
import type { SandboxProgram } from "#runtime/launch-types.ts";

/** What a container asks of the network, from its HostConfig, Config and NetworkingConfig. */
export interface SandboxRequest {
  containerId: string;
  name: string;
  /** "bridge", "default", "none", "host", "container:<id>" (id already resolved), or a network's name or id. */
  mode: string;
  hostname: string;
  domainname: string;
  macAddress?: string;
  /** The user's endpoint settings by network name; none for the network of the mode alone. */
  endpoints: Record<string, Partial<EndpointSettings>>;
  /** Disconnected from all networks: loopback only, whatever the mode. */
  detached?: boolean;
  /** "80/tcp" → bindings; an empty HostPort means any free one. */
  portBindings: Record<string, PortBinding[]>;
  /** "80/tcp" exposed by image or flag; published at random with publishAllPorts. */
  exposedPorts: string[];
  publishAllPorts: boolean;
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** "name:address" */
  extraHosts: string[];
}

/** What the engine needs to launch and describe the container. */
export interface Sandbox {
  /** How the runtime makes the namespace: a new one, the host's, or another container's by path. */
  namespace: { kind: "new" } | { kind: "host" } | { kind: "path"; path: string };
  program: SandboxProgram;
  /** Contents of the files the engine binds over /etc; undefined with the host's network mode for what the host has. */
  hosts: string;
  resolvConf: string;
  /** For docker inspect: NetworkSettings. */
  endpoints: Record<string, EndpointSettings>;
  ports: Record<string, PortBinding[] | null>;
  sandboxId: string;
  sandboxKey: string;
}

export interface NetworkController {
  /** Bridge, gateway address, forwarding, masquerading, the three default networks. Idempotent. */
  start(): Promise<void>;
  /**
   * Takes addresses and ports for a start. Throws BerthError: "internal" with Docker's texts when a port is in use
   * ("driver failed programming external connectivity on endpoint …: Bind for 0.0.0.0:80 failed: port is already allocated").
   * After a failure nothing is held.
   */
  allocate(request: SandboxRequest): Promise<Sandbox>;
  /**
   * Call when the container's first process runs: `sandboxKey` then names its namespace, for `nsenter --net=` and for
   * containers that join it ("container:<id>"). Takes microseconds; after a restart `reconcile` does it.
   */
  started(containerId: string, pid: number): void;
  /** Gives everything back (addresses, ports, rules, a veth that should be gone with its namespace). Idempotent. */
  release(containerId: string): Promise<void>;
  /** After a restart: keep what the containers in `running` hold (re-reserving ports), release the rest. */
  reconcile(running: ReadonlyMap<string, { pid: number }>): Promise<void>;
  /** The settings of a running container; undefined if it holds nothing. */
  settings(
    containerId: string,
  ): Pick<Sandbox, "endpoints" | "ports" | "sandboxId" | "sandboxKey"> | undefined;
  /**
   * Joins a running container to one more network, with `request.endpoints[name]` for settings; answers the addresses
   * it has there. Call for one container after the other call for it has settled.
   */
  connect(request: SandboxRequest, nameOrId: string): Promise<string[]>;
  /** Takes a running container off a network; answers the addresses it had there. As `connect`. */
  disconnect(request: SandboxRequest, nameOrId: string): Promise<string[]>;
  /**
   * What the resolv.conf of a container says since a first network of a user's gave it the name server, and what it said
   * until then; undefined while none has.
   */
  embeddedResolvConf(request: SandboxRequest): { former: string; current: string } | undefined;
  /**
   * Opens to a container what those it links to expose, and nothing else, where the default bridge keeps containers
   * apart. Again whenever one of them has started; it ends by itself when either does.
   */
  permit(containerId: string, peers: readonly LinkedPeer[]): Promise<void>;
  /** The container has another name. */
  rename(containerId: string, name: string): void;
  /** Refuses endpoint settings that the network cannot give: "invalid" with Docker's texts. */
  checkEndpoint(network: string, settings: Partial<EndpointSettings>): void;
  /** Makes a network. Errors and warnings as Docker's. */
  create(request: NetworkCreateRequest): Promise<NetworkResource>;
  /** Removes a network nobody is on; answers what it was. "forbidden" while somebody is. */
  remove(nameOrId: string): Promise<NetworkResource>;
  list(): NetworkResource[];
  /** By id, unique id prefix or name; throws "not-found" with Docker's text "network x not found". */
  inspect(nameOrId: string): NetworkResource;
  /** On daemon shutdown; running containers keep their networks. */
  stop(): Promise<void>;
}

export interface NetworkOptions {
  /** Daemon's exec root, to hold locks and such. */
  execRoot: string;
  /** Name of the default bridge ("berth0"); "none" for no default bridge. */
  bridge: string;
  /** "172.18.0.1/16"; undefined picks a free pool that overlaps no host route. */
  bip: string | undefined;
  fixedCidr: string | undefined;
  /** IPv6 on the default bridge; false where it is not said. */
  ipv6?: boolean;
  /** "fd00::1/64"; undefined takes the first address of `fixedCidr6`. */
  bip6?: string | undefined;
  /** "fd00::/64"; undefined for the subnet of `bip6`, or one of its own. */
  fixedCidr6?: string | undefined;
  mtu: number;
  /** May Berth touch the firewall? */
  iptables: boolean;
  /** The same for IPv6; means nothing without `iptables`. */
  ip6tables: boolean;
  firewallBackend: "iptables" | "nftables";
  ipForward: boolean;
  ipMasq: boolean;
  icc: boolean;
  /** Default host address for ports published on the default bridge. */
  ip: string;
  /** May the port proxy serve what cannot be translated? True where it is not said. */
  userlandProxy?: boolean;
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** What "host-gateway" stands for, one address a family at most; empty: the default bridge's own addresses. */
  hostGatewayIps: string[];
  defaultAddressPools: { base: string; size: number }[];
}
