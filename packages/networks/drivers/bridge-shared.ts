/** What the bridges of a daemon share: the host's ports and link numbers, the firewall, the addresses' book. */
import type { Logger } from "#errors/logger-types.ts";
import type { LinkIndexes } from "#networks/drivers/link-indexes.ts";
import type { Firewall } from "#networks/firewall/firewall.ts";
import type { AddressLeases } from "#networks/ipam/address-leases.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import type { PortAllocator } from "#networks/ports/port-allocator.ts";
import type { Database } from "#state/database.ts";

/** What all bridges have in common. */
export interface BridgeShared {
  readonly database: Database;
  readonly options: NetworkOptions;
  readonly logger: Logger;
  readonly leases: AddressLeases;
  readonly ports: PortAllocator;
  /** May ports be served by the port proxy? */
  readonly hasProxy: boolean;
  /** Does the host take connections over IPv6? Asked of the kernel once. */
  readonly hostHasIpv6: () => boolean;
  readonly firewall: Firewall;
  /** Read when the first bridge starts. */
  readonly indexes: () => LinkIndexes;
  /** Does this kernel have IPv6 at all? */
  readonly ipv6: boolean;
}
