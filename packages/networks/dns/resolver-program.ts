/**
 * The name server's sockets in a container's namespace, as its shim makes them: 127.0.0.11, UDP and TCP, at a port that
 * nobody uses, and rules that lead port 53 of that address to them, so that the container may have a port 53 of its own.
 * Pure but for the choice of the port.
 *
 * The rules rewrite the port in each packet, on its way out and on its way back, before and after connections are
 * tracked: no entry is made for a question, and a container's own rules see one consistent conversation. They are in a
 * table of their own; the tables of iptables stay as they were.
 */
import { randomInt } from "node:crypto";
import {
  batch,
  deleteTable,
  type Expression,
  fieldIs,
  NETWORK_HEADER,
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NFPROTO_IPV4,
  newBaseChain,
  newRule,
  newTable,
  protocolIs,
  setField,
  TRANSPORT_HEADER,
} from "#kernel/netlink/nftables-messages.ts";
import { encodeInternetAddress } from "#kernel/nonblocking-sockets.ts";
import type { ResolverProgram } from "#runtime/launch-types.ts";

/** linux/in.h */
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

export const RESOLVER_ADDRESS = "127.0.0.11";
const DNS_PORT = 53;
/** Bytes of questions that wait while no daemon is there. */
export const RECEIVE_BUFFER = 1 << 20;
/** Connections that wait while no daemon is there. */
export const RESOLVER_BACKLOG = 128;
/** The shim keeps the sockets under these numbers, where every daemon finds them: never to be changed. */
export const RESOLVER_UDP_FD = 200;
export const RESOLVER_TCP_FD = 201;

/** Above what Linux gives to clients by itself. */
const FIRST_PORT = 61_000;
const LAST_PORT = 65_535;

const TABLE = "berth-resolver";
/** Earlier than connection tracking (-200), later than all translation of sources (100): linux/netfilter_ipv4.h. */
const BEFORE_TRACKING = -300;
const AFTER_TRANSLATION = 300;

/** Offsets in the IPv4, TCP and UDP headers. */
const SOURCE = { base: NETWORK_HEADER, offset: 12, length: 4 };
const DESTINATION = { base: NETWORK_HEADER, offset: 16, length: 4 };
const SOURCE_PORT = { base: TRANSPORT_HEADER, offset: 0, length: 2 };
const DESTINATION_PORT = { base: TRANSPORT_HEADER, offset: 2, length: 2 };
/** Where the sum is in the transport header; what is asked most is looked for first. */
const CHECKSUM = new Map([
  [IPPROTO_UDP, 6],
  [IPPROTO_TCP, 16],
]);

/** `redirects`: the kernel has nf_tables. Without, the sockets are at port 53 and the container cannot have that one. */
export function resolverProgram(redirects: boolean): ResolverProgram {
  const port = redirects ? choosePort() : DNS_PORT;
  return {
    address: resolverAddress(port),
    receiveBuffer: RECEIVE_BUFFER,
    backlog: RESOLVER_BACKLOG,
    keepAs: { udp: RESOLVER_UDP_FD, tcp: RESOLVER_TCP_FD },
    ...(redirects && {
      redirection: {
        why: `lead port 53 of ${RESOLVER_ADDRESS} to port ${port}`,
        bytes: newRedirection(port),
      },
    }),
  };
}

export function choosePort(): number {
  return randomInt(FIRST_PORT, LAST_PORT + 1);
}

/** The encoded address of the sockets. */
export function resolverAddress(port: number): Buffer {
  return encodeInternetAddress(RESOLVER_ADDRESS, port);
}

/** A batch for a namespace that has no such table. */
export function newRedirection(port: number): Buffer {
  return batch(redirection(port));
}

/** A batch for a namespace that has it, with another port. */
export function replaceRedirection(port: number): Buffer {
  return batch([deleteTable(NFPROTO_IPV4, TABLE), ...redirection(port)]);
}

function redirection(port: number): ReturnType<typeof newTable>[] {
  const family = NFPROTO_IPV4;
  const to = "to-resolver";
  const from = "from-resolver";
  const own = resolverAddress(port).subarray(4, 8);
  const ours = portBytes(port);
  const known = portBytes(DNS_PORT);
  const rules = [...CHECKSUM].flatMap(([protocol, checksum]) => {
    const outward: Expression[] = [
      ...protocolIs(protocol),
      ...fieldIs(DESTINATION, own),
      ...fieldIs(DESTINATION_PORT, known),
      ...setField(DESTINATION_PORT, ours, checksum),
    ];
    const back: Expression[] = [
      ...protocolIs(protocol),
      ...fieldIs(SOURCE, own),
      ...fieldIs(SOURCE_PORT, ours),
      ...setField(SOURCE_PORT, known, checksum),
    ];
    return [newRule(family, TABLE, to, outward), newRule(family, TABLE, from, back)];
  });
  return [
    newTable(family, TABLE),
    newBaseChain(family, TABLE, to, { hook: NF_INET_LOCAL_OUT, priority: BEFORE_TRACKING }),
    newBaseChain(family, TABLE, from, { hook: NF_INET_POST_ROUTING, priority: AFTER_TRANSLATION }),
    ...rules,
  ];
}

function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 0xff);
}
