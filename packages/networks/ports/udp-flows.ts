/**
 * Makes the kernel forget UDP flows to published ports: those under way keep to the translation they began with, which
 * is not the one there is now.
 */
import { networkInterfaces } from "node:os";
import { forgetUdpFlows, listUdpFlows, udpDestination } from "#kernel/netlink/conntrack-messages.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { addressBytes, parseAddress } from "#networks/ipam/prefix.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";

/** For each deletion the kernel goes through all flows: of more ports, only those are named that have any. */
const fewPorts = 8;

/** Best effort: a kernel that cannot do it leaves such flows to their timeout. The kernel searches off the event loop. */
export async function forgetFlows(published: readonly PublishedPort[]): Promise<void> {
  const udp = published.filter((port) => port.protocol === "udp" && port.hostPort !== 0);
  if (udp.length === 0) return;
  using netlink = new NetlinkSocket(NETLINK_NETFILTER);
  for (const { hostIp, hostPort } of udp.length <= fewPorts ? udp : await withFlows(netlink, udp)) {
    for (const text of addressesOf(hostIp)) {
      const address = parseAddress(text);
      if (address === undefined) continue;
      await netlink.requestSlowly(forgetUdpFlows(addressBytes(address), hostPort)).catch(() => {
        // It keeps to its time-out.
      });
    }
  }
}

async function withFlows(netlink: NetlinkSocket, ports: readonly PublishedPort[]): Promise<PublishedPort[]> {
  try {
    const flows = [
      ...(await netlink.dumpSlowly(listUdpFlows(4))),
      ...(await netlink.dumpSlowly(listUdpFlows(6))),
    ];
    const used = new Set(flows.map(({ payload }) => udpDestination(payload)?.port));
    return ports.filter(({ hostPort }) => used.has(hostPort));
  } catch {
    return []; // Without connection tracking there is nothing to forget.
  }
}

function addressesOf(hostIp: string): string[] {
  if (hostIp === "0.0.0.0") return ownAddresses("IPv4");
  return hostIp === "::" ? ownAddresses("IPv6") : [hostIp];
}

/** The addresses a port published everywhere answers at. */
function ownAddresses(family: "IPv4" | "IPv6"): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((info) => info.family === family)
    .map((info) => info.address);
}
