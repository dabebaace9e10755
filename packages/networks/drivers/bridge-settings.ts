/**
 * How a bridge network behaves: from the daemon's options for the default one, from `docker network create -o` for the
 * others. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { isInterfaceName } from "#kernel/netlink/link-messages.ts";
import { parseAddress } from "#networks/ipam/prefix.ts";
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
  /** Where ports are published that name no address; undefined for the daemon's choice. */
  hostIp: string | undefined;
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
    hostIp: undefined,
    internal: false,
    isolated: false,
  };
}

/** Throws "invalid" for values that make no sense, with Docker's texts. */
export function userBridgeSettings(record: Pick<NetworkRecord, "id" | "config">): BridgeSettings {
  const { id, config } = record;
  const options = config.options ?? {};
  const mode = options[optionNames.gatewayMode] || "nat";
  checkGatewayMode(mode);
  checkGatewayMode(options[optionNames.gatewayMode6] || "nat");
  if (mode === "isolated" && !config.internal) {
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
    hostIp,
    internal: config.internal ?? false,
    isolated: mode === "isolated",
  };
}

/** Undefined where none is asked for. Throws "invalid" for what no link takes. */
export function mtuOf(options: Record<string, string>): number | undefined {
  return numberOf(options, optionNames.mtu) || undefined;
}

const gatewayModes = ["nat", "isolated"];
/** Docker's others: containers reached by their own addresses. */
const missingModes = ["routed", "nat-unprotected"];

function checkGatewayMode(mode: string): void {
  if (gatewayModes.includes(mode)) return;
  const hint = `the gateway modes here are ${gatewayModes.join(" and ")}`;
  if (!missingModes.includes(mode)) throw invalid(`unknown gateway mode ${mode}`, hint);
  throw new BerthError("not-implemented", `gateway mode ${mode} is not supported`, {
    operation: "create network",
    object: mode,
    hint,
  });
}

/** What Go's ParseBool takes. */
const truths: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

function truthOf(options: Record<string, string>, name: string, otherwise: boolean): boolean {
  const text = options[name];
  if (text === undefined) return otherwise;
  const truth = Object.hasOwn(truths, text) ? truths[text] : undefined;
  if (truth === undefined) {
    throw unparsed(name, text, `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
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
