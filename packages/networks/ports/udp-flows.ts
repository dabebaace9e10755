/**
 * Makes the kernel forget UDP flows to published ports: those under way keep to the translation they began with, which
 * is not the one there is now.
 */
import { networkInterfaces } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { forgetUdpFlows } from "#kernel/netlink/conntrack-messages.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { addressBytes, parseAddress } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-allocator.ts";

/** Milliseconds that one slice may take. */
const slice = 2;

/** Best effort: a kernel that cannot do it leaves such flows to their timeout. Many ports are done in slices. */
export async function forgetFlows(published: readonly PublishedPort[]): Promise<void> {
  const udp = published.filter((port) => port.protocol === "udp" && port.hostPort !== 0);
  if (udp.length === 0) return;
  using netlink = new NetlinkSocket(NETLINK_NETFILTER);
  const everywhere = { "0.0.0.0": ownAddresses("IPv4"), "::": ownAddresses("IPv6") };
  let began = performance.now();
  for (const { hostIp, hostPort } of udp) {
    const texts = hostIp === "0.0.0.0" || hostIp === "::" ? everywhere[hostIp] : [hostIp];
    for (const text of texts) {
      const address = parseAddress(text);
      if (address !== undefined) netlink.tryRequest(forgetUdpFlows(addressBytes(address), hostPort));
    }
    if (performance.now() - began < slice) continue;
    await nextTurn();
    began = performance.now();
  }
}

/** The addresses a port published everywhere answers at. */
function ownAddresses(family: "IPv4" | "IPv6"): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((info) => info.family === family)
    .map((info) => info.address);
}
