/** The driver of "host": the container sees what the host sees. Ports it opens are open; nothing is published. */
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { plainNetwork } from "#networks/drivers/plain-network.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

export function hostNetwork(record: NetworkRecord): NetworkDriver {
  return plainNetwork(record, false);
}
