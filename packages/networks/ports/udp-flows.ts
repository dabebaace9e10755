/**
 * Makes the kernel forget UDP flows to published ports: those under way keep to the translation they began with, which
 * is not the one there is now.
 */
import { networkInterfaces } from "node:os";
import { forgetUdpFlows } from "#kernel/netlink/conntrack-messages.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { addressBytes, parseAddress } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-allocator.ts";

/** Best effort: a kernel that cannot do it leaves such flows to their timeout. */
export function forgetFlows(published: readonly PublishedPort[]): void {
  const udp = published.filter((port) => port.protocol === "udp");
  if (udp.length === 0) return;
  using netlink = new NetlinkSocket(NETLINK_NETFILTER);
  for (const port of udp) {
    for (const address of hostAddresses(port.hostIp)) {
      netlink.tryRequest(forgetUdpFlows(address, port.hostPort));
    }
  }
}

/** The addresses a published port answers at. */
function hostAddresses(hostIp: string): Uint8Array[] {
  const texts =
    hostIp === "0.0.0.0"
      ? Object.values(networkInterfaces())
          .flatMap((list) => list ?? [])
          .filter((info) => info.family === "IPv4")
          .map((info) => info.address)
      : [hostIp];
  return texts.flatMap((text) => {
    const address = parseAddress(text);
    return address === undefined ? [] : [addressBytes(address)];
  });
}
