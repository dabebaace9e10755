/**
 * The bridge's interface on the host: made if absent, given its address, and the kernel settings it needs.
 *
 * An interface that was there before Berth is used as it is, whatever else lives on it.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import { addAddress, removeAddress } from "#kernel/netlink/address-messages.ts";
import {
  changeLink,
  createBridge,
  deleteLink,
  filterBridgedFrames,
  type Link,
} from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { eagerNeighbours } from "#networks/drivers/sandbox-program.ts";
import { readAddresses, readLinks } from "#networks/host-survey.ts";
import { type Address, addressBytes, broadcastOf, prefixOf } from "#networks/ipam/prefix.ts";

export function findLink(netlink: NetlinkSocket, name: string): Link | undefined {
  return readLinks(netlink).find((link) => link.name === name);
}

export interface BridgeLinkOptions {
  name: string;
  /** The host's own on it, one a family at most. */
  addresses: readonly { address: Address; prefixLength: number }[];
  mtu: number;
  /** The gateways of a former configuration: they go when others take their place. Other addresses stay. */
  former: readonly Address[];
}

type Present = { address: Address; prefixLength: number };

/** Makes the bridge what it should be; answers its index. Idempotent. */
export function ensureBridge(netlink: NetlinkSocket, options: BridgeLinkOptions): number {
  const { name } = options;
  let link = findLink(netlink, name);
  if (link !== undefined && link.kind !== "bridge") {
    throw new BerthError("internal", `the interface ${name} is not a bridge`, {
      operation: "set up the bridge",
      object: name,
      hint: "give another name with --bridge, or delete the interface (ip link delete)",
    });
  }
  if (link === undefined) {
    // Locally administered, random: several hosts on one wire must not have the same.
    const mac = Uint8Array.of(0x02, 0x42, ...randomBytes(4));
    netlink.request(createBridge({ name, mac, mtu: options.mtu }), `create bridge ${name}`);
    link = findLink(netlink, name);
    if (link === undefined) throw new Error(`the bridge ${name} vanished after it was made`);
    trySysctl(`net/ipv6/conf/${name}/disable_ipv6`, "1");
    for (const [setting, value] of Object.entries(eagerNeighbours(name))) trySysctl(setting, value);
  }
  // On a bridge that is there already, it may be off.
  if (options.addresses.some(({ address }) => address.family === 6)) {
    trySysctl(`net/ipv6/conf/${name}/disable_ipv6`, "0");
  }
  trySysctl(`net/ipv6/conf/${name}/accept_ra`, "0");
  setAddresses(netlink, link.index, options);
  const mtu = link.mtu === options.mtu ? {} : { mtu: options.mtu };
  netlink.request(changeLink(link.index, { up: true, ...mtu }), `bring ${name} up`);
  return link.index;
}

function setAddresses(netlink: NetlinkSocket, index: number, options: BridgeLinkOptions): void {
  const present = readAddresses(netlink).filter((found) => found.link === index);
  const fits = (found: Present, wanted: Present): boolean =>
    found.address.family === wanted.address.family &&
    found.address.value === wanted.address.value &&
    found.prefixLength === wanted.prefixLength;
  for (const found of present) {
    const { family, value } = found.address;
    if (!options.former.some((address) => address.family === family && address.value === value)) continue;
    if (options.addresses.some((wanted) => fits(found, wanted))) continue;
    netlink.request(
      removeAddress({
        link: index,
        address: addressBytes(found.address),
        prefixLength: found.prefixLength,
      }),
      `remove an address of ${options.name}`,
    );
  }
  for (const wanted of options.addresses) {
    if (present.some((found) => fits(found, wanted))) continue;
    const { address, prefixLength } = wanted;
    netlink.request(
      addAddress({
        link: index,
        address: addressBytes(address),
        prefixLength,
        ...(address.family === 4 && {
          broadcast: addressBytes(broadcastOf(prefixOf(address, prefixLength))),
        }),
      }),
      `add an address to ${options.name}`,
    );
  }
}

/** Deletes the bridge: with its network, or for uninstalling. Answers whether there was one. */
export async function removeBridgeLink(name: string): Promise<boolean> {
  using netlink = new NetlinkSocket();
  const link = findLink(netlink, name);
  if (link?.kind !== "bridge") return false;
  await netlink.requestSlowly(deleteLink(link.index));
  return true;
}

/** The IPv4 address a bridge already has. */
export function bridgeAddress(
  netlink: NetlinkSocket,
  index: number,
): { address: Address; prefixLength: number } | undefined {
  return readAddresses(netlink).find((found) => found.link === index && found.address.family === 4);
}

/** Trimmed value of a file under /proc/sys; undefined where the kernel has no such setting. */
export function readSysctl(name: string): string | undefined {
  const path = `/proc/sys/${name}`;
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}

export function writeSysctl(name: string, value: string): void {
  if (readSysctl(name) === value) return;
  try {
    writeFileSync(`/proc/sys/${name}`, value);
  } catch (cause) {
    throw new BerthError(
      "internal",
      `cannot set ${name.replaceAll("/", ".")} to ${value}: ${String(cause)}`,
      {
        operation: "set up the bridge",
        object: name,
        cause,
      },
    );
  }
}

/** For settings that some kernels lack (no IPv6) and that nothing depends on. */
/** Has the firewall see what stays within a bridge. False where this kernel cannot show it. */
export function showFrames(netlink: NetlinkSocket, index: number): boolean {
  const all = readSysctl("net/bridge/bridge-nf-call-iptables");
  return all === "1" || (all !== undefined && netlink.tryRequest(filterBridgedFrames(index)) === 0);
}

function trySysctl(name: string, value: string): void {
  if (readSysctl(name) !== undefined) writeSysctl(name, value);
}
