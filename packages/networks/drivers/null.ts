/** The driver of "none": a namespace of its own with loopback only. */
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { plainNetwork } from "#networks/drivers/plain-network.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

export function nullNetwork(record: NetworkRecord): NetworkDriver {
  return plainNetwork(record, true);
}
