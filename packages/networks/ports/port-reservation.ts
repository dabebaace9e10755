/**
 * A port of the host, held by a socket so that no other process can take it, and so that one taken is noticed.
 *
 * The socket never serves: a filter drops whatever reaches it. A TCP socket listens, because only a listening one
 * keeps out programs that bind with SO_REUSEADDR (nearly all servers do) while itself not minding the remains of
 * closed connections. Constants: asm-generic/socket.h, linux/filter.h.
 */
import koffi from "koffi";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  AF_INET,
  bind,
  listen,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  setsockopt,
  socket,
} from "#kernel/socket-syscalls.ts";
import { addressBytes, parseAddress } from "#networks/ipam/prefix.ts";
import type { Protocol } from "#networks/ports/port-spec.ts";

const SO_REUSEADDR = 2;
const SO_ATTACH_FILTER = 26;
/** `ret #0`: keep nothing of the packet. */
const dropEverything = Buffer.from("0600000000000000", "hex");

/**
 * Binds a port of an IPv4 address. Throws SyscallError: EADDRINUSE if another process has it, EADDRNOTAVAIL if the
 * address is not the host's. Undefined for protocols that are not reserved (sctp: the kernel may lack it).
 */
export function reservePort(protocol: Protocol, hostIp: string, port: number): FileDescriptor | undefined {
  if (protocol === "sctp") return undefined;
  const stream = protocol === "tcp";
  const fd = new FileDescriptor(socket(AF_INET, stream ? SOCK_STREAM : SOCK_DGRAM, 0));
  try {
    if (stream) setsockopt(fd.number, SOL_SOCKET, SO_REUSEADDR, 1);
    setsockopt(fd.number, SOL_SOCKET, SO_ATTACH_FILTER, filterProgram());
    bind(fd.number, encodeAddress(hostIp, port));
    if (stream) listen(fd.number, 0);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** `struct sock_fprog` on 64-bit: number of instructions, pointer. */
function filterProgram(): Buffer {
  const program = Buffer.alloc(16);
  program.writeUInt16LE(dropEverything.length / 8, 0);
  program.writeBigUInt64LE(koffi.address(dropEverything), 8);
  return program;
}

/** `struct sockaddr_in`: port and address in network order. */
function encodeAddress(hostIp: string, port: number): Buffer {
  const address = parseAddress(hostIp);
  if (address?.family !== 4) throw new RangeError(`no IPv4 address: ${hostIp}`);
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(addressBytes(address), 4);
  return bytes;
}
