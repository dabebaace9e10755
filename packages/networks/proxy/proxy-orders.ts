/**
 * What the daemon and the port proxy say to each other, as bytes (README.md beside this). Pure.
 *
 * Every message has one size and is written and read whole, so that a descriptor that comes with it is never another's.
 */
import { encodeInternetAddress } from "#kernel/nonblocking-sockets.ts";
import { AF_INET, AF_INET6 } from "#kernel/socket-syscalls.ts";

/** Bytes of every message. */
export const ORDER_SIZE = 48;
/** Slots are numbered from 0 to this, exclusive. */
export const PROXY_SLOTS = 1 << 17;

export const ORDER = { add: 1, remove: 2, list: 3, listed: 4 } as const;

const protocols = { tcp: 6, udp: 17 } as const;
export type ProxyProtocol = keyof typeof protocols;

export interface ProxyTarget {
  protocol: ProxyProtocol;
  address: string;
  port: number;
}

export interface ProxyOrder {
  order: number;
  slot: number;
  /** 0 or an errno; in answers. */
  status: number;
  target: ProxyTarget | undefined;
}

const targetAt = 20;

export function encodeOrder(order: number, slot: number, target?: ProxyTarget): Buffer {
  const bytes = Buffer.alloc(ORDER_SIZE);
  bytes.writeUInt32LE(order, 0);
  bytes.writeUInt32LE(slot, 4);
  if (target === undefined) return bytes;
  const address = encodeInternetAddress(target.address, target.port);
  bytes.writeUInt32LE(protocols[target.protocol], 8);
  bytes.writeUInt32LE(address.length, 16);
  bytes.set(address, targetAt);
  return bytes;
}

export function decodeOrder(bytes: Buffer): ProxyOrder {
  const protocol = bytes.readUInt32LE(8) === protocols.udp ? "udp" : "tcp";
  const length = bytes.readUInt32LE(16);
  const target = length === 0 ? undefined : decodeAddress(bytes.subarray(targetAt, targetAt + length));
  return {
    order: bytes.readUInt32LE(0),
    slot: bytes.readUInt32LE(4),
    status: bytes.readInt32LE(12),
    target: target && { protocol, ...target },
  };
}

/** An encoded sockaddr as its text, IPv6 in the longest form; undefined for other families. */
export function decodeAddress(bytes: Uint8Array): { address: string; port: number } | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.readUInt16LE(0);
  const port = view.readUInt16BE(2);
  if (family === AF_INET) return { address: [...view.subarray(4, 8)].join("."), port };
  if (family !== AF_INET6) return undefined;
  const groups = Array.from({ length: 8 }, (_, at) => view.readUInt16BE(8 + at * 2).toString(16));
  return { address: groups.join(":"), port };
}

/** One text for one address and port, whatever way they were written. */
export function addressKey(protocol: ProxyProtocol, bytes: Uint8Array): string {
  const decoded = decodeAddress(bytes);
  return `${protocol} ${decoded?.address} ${decoded?.port}`;
}
