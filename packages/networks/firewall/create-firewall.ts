/** The firewall as the daemon's options choose it, and how what another back end has left is removed. */
import type { Logger } from "#errors/logger-types.ts";
import { Firewall } from "#networks/firewall/firewall.ts";
import { FirewallRecord, type FirewallTrace } from "#networks/firewall/firewall-record.ts";
import { IptablesBackend, removeBridgeRules } from "#networks/firewall/iptables-backend.ts";
import { NftablesBackend, removeTables, tableOf } from "#networks/firewall/nftables-backend.ts";
import type { Family } from "#networks/ipam/prefix.ts";
import type { NetworkOptions } from "#networks/network-types.ts";
import type { Database } from "#state/database.ts";

/** Nothing is touched before its `start`. */
export function createFirewall(
  database: Database,
  options: NetworkOptions,
  kernelHasIpv6: boolean,
  logger: Logger,
): Firewall {
  const families: Family[] = [
    ...(options.iptables ? [4 as const] : []),
    ...(options.iptables && options.ip6tables && kernelHasIpv6 ? [6 as const] : []),
  ];
  const name = options.firewallBackend;
  const table = tableOf(options);
  const make = () =>
    name === "nftables" ? new NftablesBackend(table, families) : new IptablesBackend(families);
  return new Firewall({
    backend: families.length === 0 ? undefined : make(),
    families,
    record: new FirewallRecord(database),
    traceOf: (bridge) => ({ backend: name, name: name === "nftables" ? table : bridge }),
    removeTrace: (trace) => removeTrace(trace, families),
    logger,
  });
}

async function removeTrace(trace: FirewallTrace, families: readonly Family[]): Promise<void> {
  if (trace.backend === "nftables") removeTables(trace.name, families);
  else await Promise.all(families.map((family) => removeBridgeRules(trace.name, family)));
}
