/**
 * How a bridge network behaves: from the daemon's options for the default one, from `docker network create -o` for the
 * others. Pure.
 */

import { BerthError } from "#errors/errors.ts";
import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import { isInterfaceName } from "#kernel/netlink/link-messages.ts";
import type { GatewayMode } from "#networks/firewall/desired-rules.ts";
import { type Family, parseAddress } from "#networks/ipam/prefix.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import type { NetworkOptions } from "#networks/network-types.ts";

export interface BridgeSettings {
  /** Name of the interface. */
  bridge: string;
  mtu: number;
  /** May containers of the network talk to one another? */
  icc: boolean;
  /** Containers leave with the host's address. */
  masquerade: boolean;
  /** Where ports are published that name no address; "0.0.0.0" for all of the host's, IPv6 too. */
  hostIp: string;
  /** How it meets the world, by family. */
  modes: Record<Family, GatewayMode>;
  /** No way in or out but through the host itself. */
  internal: boolean;
  /** The host has no address on it either. */
  isolated: boolean;
}

const prefix = "com.docker.network.";
/** The options of Docker's bridge driver that are heeded here. */
export const optionNames = {
  bridge: `${prefix}bridge.name`,
  mtu: `${prefix}driver.mtu`,
  icc: `${prefix}bridge.enable_icc`,
  masquerade: `${prefix}bridge.enable_ip_masquerade`,
  hostIp: `${prefix}bridge.host_binding_ipv4`,
  gatewayMode: `${prefix}bridge.gateway_mode_ipv4`,
  gatewayMode6: `${prefix}bridge.gateway_mode_ipv6`,
} as const;

/** Ethernet's, which a network has that asks for none. */
const usualMtu = 1500;
/** The smallest an IPv4 link may have (RFC 791), and the largest a veth takes. */
const mtuRange = { least: 68, most: 65_535 };

export function defaultBridgeSettings(options: NetworkOptions): BridgeSettings {
  return {
    bridge: options.bridge,
    mtu: options.mtu,
    icc: options.icc,
    masquerade: options.ipMasq,
    hostIp: options.ip,
    modes: { 4: "nat", 6: "nat" },
    internal: false,
    isolated: false,
  };
}

/** Throws "invalid" for values that make no sense, with Docker's texts. */
export function userBridgeSettings(record: Pick<NetworkRecord, "id" | "config">): BridgeSettings {
  const { id, config } = record;
  const options = config.options ?? {};
  const mode = gatewayModeOf(options[optionNames.gatewayMode]);
  const mode6 = gatewayModeOf(options[optionNames.gatewayMode6]);
  if ((mode === "isolated" || mode6 === "isolated") && !config.internal) {
    throw invalid("gateway mode 'isolated' can only be used for an internal network");
  }
  const bridge = options[optionNames.bridge] || config.bridge || `br-${id.slice(0, 12)}`;
  if (!isInterfaceName(bridge)) throw invalid(`invalid bridge name: ${bridge}`, "at most 15 characters");
  const hostIp = options[optionNames.hostIp] || undefined;
  if (hostIp !== undefined && parseAddress(hostIp)?.family !== 4) {
    throw unparsed(optionNames.hostIp, hostIp, "Invalid IP address");
  }
  return {
    bridge,
    mtu: mtuOf(options) ?? usualMtu,
    icc: truthOf(options, optionNames.icc, true),
    masquerade: truthOf(options, optionNames.masquerade, true),
    hostIp: hostIp ?? everywhere,
    // What an internal network is, whatever else is said.
    modes: { 4: mode === "isolated" ? "nat" : mode, 6: mode6 === "isolated" ? "nat" : mode6 },
    internal: config.internal ?? false,
    isolated: mode === "isolated",
  };
}

/** Undefined where none is asked for. Throws "invalid" for what no link takes. */
export function mtuOf(options: Record<string, string>): number | undefined {
  return numberOf(options, optionNames.mtu) || undefined;
}

const everywhere = "0.0.0.0";

const gatewayModes = ["nat", "nat-unprotected", "routed", "isolated"] as const;

function gatewayModeOf(text: string | undefined): (typeof gatewayModes)[number] {
  const wanted = text || "nat";
  const mode = gatewayModes.find((known) => known === wanted);
  if (mode !== undefined) return mode;
  throw invalid(`unknown gateway mode ${wanted}`, `the gateway modes are ${gatewayModes.join(", ")}`);
}

function truthOf(options: Record<string, string>, name: string, otherwise: boolean): boolean {
  const text = options[name];
  if (text === undefined) return otherwise;
  const truth = parseBoolean(text);
  if (truth === undefined) throw unparsed(name, text, notBoolean(text));
  return truth;
}

function numberOf(options: Record<string, string>, name: string): number {
  const text = options[name];
  if (text === undefined) return 0;
  if (!/^\d+$/.test(text)) {
    throw unparsed(name, text, `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const value = Number(text);
  if (value !== 0 && (value < mtuRange.least || value > mtuRange.most)) {
    throw invalid(
      `invalid ${name}: ${text}`,
      `a link takes packets of ${mtuRange.least} to ${mtuRange.most} bytes`,
    );
  }
  return value;
}

function unparsed(name: string, value: string, why: string): BerthError {
  return invalid(`failed to parse ${name} value: ${value} (${why})`);
}

function invalid(message: string, hint?: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "create network",
    ...(hint !== undefined && { hint }),
  });
}
