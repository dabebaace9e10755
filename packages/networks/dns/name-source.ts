/**
 * What the DNS server asks of the networks: who has a name, who has an address, and where the rest is asked.
 *
 * The controller answers from memory; the server owns sockets and messages and nothing of this. Containers are named by
 * their full id. Answers hold for the moment of the question: nothing may be kept of them.
 */

/** The addresses behind one name; several containers with the same alias are all in it. */
export interface NameAddresses {
  v4: string[];
  v6: string[];
}

export interface NameSource {
  /**
   * The addresses `name` has for the container that asks: of the containers on its networks that have it as name, alias
   * or short id, also as "name.network". `name` is in lower case without a trailing dot. Undefined: no such name here,
   * the question is for others. A name with addresses of the other family only gives an empty list for this one.
   */
  addresses(containerId: string, name: string): NameAddresses | undefined;
  /** The name ("web.shop") of an address on one of the container's networks, for reverse questions. */
  nameOf(containerId: string, address: string): string | undefined;
  /** Where other questions of this container go: the user's `--dns`, else what the host's resolv.conf has. */
  upstream(containerId: string): { servers: string[] };
  /** Is the container on internal networks only? Then nothing is forwarded for it. */
  isInternal(containerId: string): boolean;
}
