/**
 * Addresses and prefixes as numbers, for IPv4 and IPv6. Pure.
 *
 * An address is a bigint with its family; text and bytes are for the edges. Parsing is strict: what inet_pton(3)
 * would not take is no address here (no octal, no short forms). IPv6 text is written as RFC 5952 says.
 */
import { isIPv4, isIPv6 } from "node:net";

export type Family = 4 | 6;

export interface Address {
  family: Family;
  value: bigint;
}

/** A network: the first address and the number of fixed bits. */
export interface Prefix {
  family: Family;
  first: bigint;
  length: number;
}

/** Bits of an address. */
export function width(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** Undefined if the text is no address. IPv6 zones are not taken. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: parseDotted(text) };
  if (!isIPv6(text) || text.includes("%")) return undefined;
  return { family: 6, value: parseColons(text) };
}

function parseDotted(text: string): bigint {
  let value = 0n;
  for (const part of text.split(".")) value = (value << 8n) | BigInt(part);
  return value;
}

function parseColons(text: string): bigint {
  const [head = "", tail] = text.split("::");
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length;
  let value = 0n;
  for (const group of [...front, ...new Array<bigint>(zeros).fill(0n), ...back])
    value = (value << 16n) | group;
  return value;
}

/** Groups of sixteen bits; a dotted tail counts for two. */
function groups(text: string): bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const value = parseDotted(group);
    return [value >> 16n, value & 0xffffn];
  });
}

export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join(".");
  }
  const parts = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  // The longest run of two or more zero groups is left out, the first of equals.
  const [run] = [...parts.join(":").matchAll(/\b0(?::0)+\b/g)].sort((a, b) => b[0].length - a[0].length);
  if (run === undefined) return parts.join(":");
  const text = parts.join(":");
  const before = text.slice(0, run.index).replace(/:$/, "");
  const after = text.slice(run.index + run[0].length).replace(/^:/, "");
  return `${before}::${after}`;
}

/** Four or sixteen bytes, most significant first. */
export function addressBytes({ family, value }: Address): Uint8Array {
  const size = width(family) / 8;
  return Uint8Array.from({ length: size }, (_, index) =>
    Number((value >> BigInt(8 * (size - 1 - index))) & 0xffn),
  );
}

/** From four or sixteen bytes. */
export function addressFromBytes(bytes: Uint8Array): Address {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

/** "172.17.0.1/16": the address as written and its network. Undefined if malformed. */
export function parseCidr(text: string): { address: Address; prefix: Prefix } | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const address = match?.[1] === undefined ? undefined : parseAddress(match[1]);
  if (match === null || address === undefined) return undefined;
  const length = Number(match[2]);
  if (length > width(address.family)) return undefined;
  return { address, prefix: prefixOf(address, length) };
}

/** The network of that length an address lies in. */
export function prefixOf(address: Address, length: number): Prefix {
  const shift = BigInt(width(address.family) - length);
  return { family: address.family, first: (address.value >> shift) << shift, length };
}

/** How many addresses a prefix has. */
export function sizeOf(prefix: Prefix): bigint {
  return 1n << BigInt(width(prefix.family) - prefix.length);
}

export function lastOf(prefix: Prefix): bigint {
  return prefix.first + sizeOf(prefix) - 1n;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress({ family: prefix.family, value: prefix.first })}/${prefix.length}`;
}

export function contains(prefix: Prefix, address: Address): boolean {
  return prefix.family === address.family && address.value >= prefix.first && address.value <= lastOf(prefix);
}

/** Is every address of `inner` one of `outer`? */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  return overlaps(outer, inner) && outer.length <= inner.length;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.first <= lastOf(b) && b.first <= lastOf(a);
}

/** The prefixes of length `length` inside `base`, in order. */
export function* subPrefixes(base: Prefix, length: number): Generator<Prefix> {
  if (length < base.length || length > width(base.family)) return;
  const step = 1n << BigInt(width(base.family) - length);
  for (let first = base.first; first <= lastOf(base); first += step) {
    yield { family: base.family, first, length };
  }
}

/** IPv4 only: the address for all hosts of a network. */
export function broadcastOf(prefix: Prefix): Address {
  return { family: prefix.family, value: lastOf(prefix) };
}
