/**
 * A port of the host as a socket: held, so that no other process can take it and one taken is noticed, or served, for
 * the port proxy.
 *
 * A held socket never serves: a filter drops whatever reaches it. A TCP socket listens, because only a listening one
 * keeps out programs that bind with SO_REUSEADDR (nearly all servers do) while itself not minding the remains of
 * closed connections. Constants: asm-generic/socket.h, linux/filter.h, linux/tcp.h, linux/in.h, linux/in6.h.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import { addressOf } from "#kernel/memory-address.ts";
import { encodeInternetAddress } from "#kernel/nonblocking-sockets.ts";
import {
  AF_INET,
  AF_INET6,
  bind,
  listen,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  setsockopt,
  socket,
} from "#kernel/socket-syscalls.ts";
import type { Protocol } from "#networks/ports/port-spec.ts";

const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
const SO_ATTACH_FILTER = 26;
const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;
const IP_PKTINFO = 8;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const TCP_NODELAY = 1;
/** Connections waiting to be accepted; the kernel's own limit may be lower (net.core.somaxconn). */
const backlog = 4096;
/** `ret #0`: keep nothing of the packet. */
const dropEverything = Buffer.from("0600000000000000", "hex");

/**
 * Binds a port of an address. Throws SyscallError: EADDRINUSE if another process has it, EADDRNOTAVAIL if the address
 * is not the host's. Undefined for protocols that are not reserved (sctp: the kernel may lack it).
 */
export function reservePort(protocol: Protocol, hostIp: string, port: number): FileDescriptor | undefined {
  if (protocol === "sctp") return undefined;
  return open(protocol, hostIp, port, 0, (fd) => {
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, filterProgram());
  });
}

/** A socket for the port proxy: its options are those its connections get. Throws as `reservePort`. */
export function openServedPort(protocol: "tcp" | "udp", hostIp: string, port: number): FileDescriptor {
  return open(protocol, hostIp, port, backlog, (fd, family) => {
    if (protocol === "tcp") {
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    } else if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    else setsockopt(fd, IPPROTO_IP, IP_PKTINFO, 1);
  });
}

function open(
  protocol: "tcp" | "udp",
  hostIp: string,
  port: number,
  queue: number,
  prepare: (fd: number, family: number) => void,
): FileDescriptor {
  const stream = protocol === "tcp";
  const family = hostIp.includes(":") ? AF_INET6 : AF_INET;
  const fd = new FileDescriptor(socket(family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0));
  try {
    if (stream) setsockopt(fd.number, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family === AF_INET6) setsockopt(fd.number, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    prepare(fd.number, family);
    bind(fd.number, encodeInternetAddress(hostIp, port));
    if (stream) listen(fd.number, queue);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** Does this host have IPv6? Asked of the kernel by what is needed of it, as it may be switched off in several ways. */
export function hostHasIpv6(): boolean {
  try {
    reservePort("udp", "::1", 0)?.close();
    return true;
  } catch {
    return false;
  }
}

/** `struct sock_fprog` on 64-bit: number of instructions, pointer. */
function filterProgram(): Buffer {
  const program = Buffer.alloc(16);
  program.writeUInt16LE(dropEverything.length / 8, 0);
  program.writeBigUInt64LE(addressOf(dropEverything), 8);
  return program;
}
