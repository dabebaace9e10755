/** What brings the desired rules into the kernel: the contract between the firewall and iptables or nftables. */
import type { BridgeState } from "#networks/firewall/desired-rules.ts";
import type { Family } from "#networks/ipam/prefix.ts";

/** One change, of any number of bridges. */
export interface FirewallChange {
  /** Bridges as they shall be, whatever is there. */
  whole: readonly BridgeState[];
  /** Bridges of which only the published ports have changed since they were applied last. */
  ports: readonly BridgeState[];
  /** Bridges of which nothing shall be left. */
  gone: readonly { bridge: string; families: readonly Family[] }[];
}

export interface FirewallBackend {
  /** Resolves when all of it is in the kernel. After a rejection any part of it may be. */
  apply(change: FirewallChange): Promise<void>;
  /** Is everything there that these bridges have? May cost a process. */
  intact(states: readonly BridgeState[]): Promise<boolean>;
  /** May anybody have changed rules since this was asked last? Takes microseconds. */
  disturbed(): boolean;
  /** Lets no packet through that goes from one of the host's own links to another: this host was no router. */
  denyForwarding(family: Family): Promise<void>;
  close(): void;
}
