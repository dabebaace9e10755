/**
 * What the DNS server is told of a container: the message between the controller's thread and the server's.
 */

/** A server that unknown names are asked of. */
export interface UpstreamServer {
  address: string;
  /** Only the host's own processes reach it (its loopback): asked from the host's namespace. */
  fromHost: boolean;
}

/** A network a container is on. */
export interface JoinedNetwork {
  networkId: string;
  networkName: string;
  /** What the others on it call this container: name, aliases, short id. */
  names: string[];
  /** What a reverse question is answered with: "web.shop". */
  reverseName: string;
  /** "" for none. */
  v4: string;
  v6: string;
  /** What this container alone calls others on it (--link): alias → one of their names. */
  links: Record<string, string>;
}

export interface ContainerNames {
  containerId: string;
  /** In the order they are asked. */
  joined: JoinedNetwork[];
  /** At most so many are asked, in this order. */
  upstream: UpstreamServer[];
  /** Nothing is forwarded for a container on internal networks only. */
  isInternal: boolean;
  /** The user has set ndots above 0: names without a dot are completed by the client and never forwarded. */
  keepsShortNames: boolean;
}
