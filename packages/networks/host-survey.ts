/**
 * What the host's network looks like: links, and the prefixes in use. Reads only.
 */
import {
  dumpAddresses,
  dumpRoutes,
  parseAddress as parseAddressMessage,
  parseRoute,
} from "#kernel/netlink/address-messages.ts";
import { dumpLinks, type Link, parseLink } from "#kernel/netlink/link-messages.ts";
import type { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { type Address, addressFromBytes, type Prefix, prefixOf } from "#networks/ipam/prefix.ts";

export function readLinks(netlink: NetlinkSocket): Link[] {
  return netlink.dump(dumpLinks()).map((message) => parseLink(message.payload));
}

export interface InterfaceAddress {
  link: number;
  address: Address;
  prefixLength: number;
}

export function readAddresses(netlink: NetlinkSocket): InterfaceAddress[] {
  return netlink
    .dump(dumpAddresses())
    .map((message) => parseAddressMessage(message.payload))
    .filter(({ address }) => address.length === 4 || address.length === 16)
    .map(({ link, address, prefixLength }) => ({
      link,
      address: addressFromBytes(address),
      prefixLength,
    }));
}

/** The prefixes the host has addresses in or routes to, but for those of one link and the default routes. */
export function usedPrefixes(netlink: NetlinkSocket, except: number): Prefix[] {
  const routes = netlink.dump(dumpRoutes()).flatMap((message) => {
    const route = parseRoute(message.payload);
    if (route?.destination === undefined || route.prefixLength === 0 || route.link === except) return [];
    return [prefixOf(addressFromBytes(route.destination), route.prefixLength)];
  });
  const addresses = readAddresses(netlink)
    .filter((found) => found.link !== except)
    .map((found) => prefixOf(found.address, found.prefixLength));
  return [...routes, ...addresses];
}
