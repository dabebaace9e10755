/**
 * rtnetlink messages about addresses, routes and neighbours, for IPv4 and IPv6. Pure.
 *
 * Addresses are the raw bytes: four for IPv4, sixteen for IPv6; the length tells the family. Every builder of a change
 * asks for an acknowledgement. Constants: linux/if_addr.h, linux/rtnetlink.h, linux/neighbour.h.
 */
import {
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttributes,
} from "#kernel/netlink/message-codec.ts";

export const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_PERMANENT = 0x80;
const IFA_F_NODAD = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_TABLE = 15;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

const AF_INET = 2;
const AF_INET6 = 10;

function familyOf(address: Uint8Array): number {
  if (address.length === 4) return AF_INET;
  if (address.length === 16) return AF_INET6;
  throw new RangeError(`an address of ${address.length} bytes`);
}

export interface AddressOptions {
  /** Index of the link. */
  link: number;
  address: Uint8Array;
  prefixLength: number;
  /** IPv4 only. */
  broadcast?: Uint8Array;
}

/** Adds an address; EEXIST if the link has it. IPv6 addresses are usable at once (no duplicate detection). */
export function addAddress(options: AddressOptions): Buffer {
  return addressMessage(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, options);
}

export function removeAddress(options: AddressOptions): Buffer {
  return addressMessage(RTM_DELADDR, NLM_F_ACK, options);
}

function addressMessage(type: number, flags: number, options: AddressOptions): Buffer {
  const family = familyOf(options.address);
  const message = new MessageWriter(type, flags);
  const header = Buffer.alloc(8);
  header[0] = family;
  header[1] = options.prefixLength;
  header[2] = family === AF_INET6 ? IFA_F_NODAD : 0;
  header.writeUInt32LE(options.link, 4);
  message.bytes(header);
  message.attribute(IFA_LOCAL, options.address);
  message.attribute(IFA_ADDRESS, options.address);
  if (options.broadcast !== undefined) message.attribute(IFA_BROADCAST, options.broadcast);
  return message.finish();
}

export function dumpAddresses(): Buffer {
  const message = new MessageWriter(RTM_GETADDR, NLM_F_DUMP);
  message.bytes(Buffer.alloc(8));
  return message.finish();
}

export interface LinkAddress {
  link: number;
  address: Uint8Array;
  prefixLength: number;
  /** Valid everywhere (RT_SCOPE_UNIVERSE), and there until it is removed (IFA_F_PERMANENT). */
  lasting: boolean;
}

/** Reads the payload of an RTM_NEWADDR message. */
export function parseAddress(payload: Buffer): LinkAddress {
  const attributes = parseAttributes(payload, 8);
  return {
    link: payload.readUInt32LE(4),
    address: attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(0),
    prefixLength: payload.readUInt8(1),
    lasting: payload.readUInt8(3) === 0 && (payload.readUInt8(2) & IFA_F_PERMANENT) !== 0,
  };
}

export interface RouteOptions {
  /** Index of the link. */
  link: number;
  /** Leave out for the default route; then `gateway` tells the family. */
  destination?: { address: Uint8Array; prefixLength: number };
  /** Leave out for what is directly on the link. */
  gateway?: Uint8Array;
}

/** Adds a route to the main table; EEXIST if there is one for the same destination. */
export function addRoute(options: RouteOptions): Buffer {
  return routeMessage(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, options);
}

export function removeRoute(options: RouteOptions): Buffer {
  return routeMessage(RTM_DELROUTE, NLM_F_ACK, options);
}

function routeMessage(type: number, flags: number, options: RouteOptions): Buffer {
  const known = options.gateway ?? options.destination?.address;
  if (known === undefined) throw new RangeError("a route needs a gateway or a destination");
  const message = new MessageWriter(type, flags);
  const header = Buffer.alloc(12);
  header[0] = familyOf(known);
  header[1] = options.destination?.prefixLength ?? 0;
  header[4] = RT_TABLE_MAIN;
  header[5] = RTPROT_BOOT;
  header[6] = options.gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header[7] = RTN_UNICAST;
  message.bytes(header);
  if (options.destination !== undefined) message.attribute(RTA_DST, options.destination.address);
  if (options.gateway !== undefined) message.attribute(RTA_GATEWAY, options.gateway);
  message.u32(RTA_OIF, options.link);
  return message.finish();
}

export function dumpRoutes(): Buffer {
  const message = new MessageWriter(RTM_GETROUTE, NLM_F_DUMP);
  message.bytes(Buffer.alloc(12));
  return message.finish();
}

export interface Route {
  family: "ipv4" | "ipv6";
  table: number;
  /** Undefined for a default route. */
  destination: Uint8Array | undefined;
  prefixLength: number;
  gateway: Uint8Array | undefined;
  link: number;
}

/** Reads the payload of an RTM_NEWROUTE message; undefined for families other than IP. */
export function parseRoute(payload: Buffer): Route | undefined {
  const family = payload.readUInt8(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const attributes = parseAttributes(payload, 12);
  return {
    family: family === AF_INET ? "ipv4" : "ipv6",
    table: attributes.get(RTA_TABLE)?.readUInt32LE(0) ?? payload.readUInt8(4),
    destination: attributes.get(RTA_DST),
    prefixLength: payload.readUInt8(1),
    gateway: attributes.get(RTA_GATEWAY),
    link: attributes.get(RTA_OIF)?.readUInt32LE(0) ?? 0,
  };
}

/** Sets a permanent neighbour entry: this address has that MAC on that link. */
export function setNeighbour(link: number, address: Uint8Array, mac: Uint8Array): Buffer {
  const message = new MessageWriter(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
  const header = Buffer.alloc(12);
  header[0] = familyOf(address);
  header.writeUInt32LE(link, 4);
  header.writeUInt16LE(NUD_PERMANENT, 8);
  message.bytes(header);
  message.attribute(NDA_DST, address);
  message.attribute(NDA_LLADDR, mac);
  return message.finish();
}
