/**
 * Internet sockets that never make their thread wait. Where the kernel has an answer that is no surprise (EAGAIN,
 * ECONNREFUSED …) these functions return its negative number; a busy server cannot afford exceptions for them.
 *
 * For threads that serve descriptors with a Poller; everything else goes through node:net.
 */
import { isIPv4, isIPv6 } from "node:net";
import { ERRNO } from "#kernel/errno.ts";
import { lastErrno, libcFunction } from "#kernel/libc.ts";
import {
  AF_INET,
  AF_INET6,
  getsockopt,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  socket,
} from "#kernel/socket-syscalls.ts";

const cAccept = libcFunction("int accept4(int fd, void *address, void *length, int flags)");
const cConnect = libcFunction("int connect(int fd, void *address, unsigned int length)");
const cRecv = libcFunction("int64_t recv(int fd, void *data, size_t length, int flags)");
const cSendto = libcFunction(
  "int64_t sendto(int fd, void *data, size_t length, int flags, void *address, unsigned int addressLength)",
);

const SO_ERROR = 4;

/** The next connection of a listening socket, close-on-exec. */
export function tryAccept(fd: number): number {
  return negated(cAccept(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

/** -EINPROGRESS while a connection is being made: the descriptor is writable when that is decided. */
export function tryConnect(fd: number, address: Uint8Array): number {
  return negated(cConnect(fd, address, address.length));
}

/** How a connection attempt has ended: 0 or an errno. */
export function connectionError(fd: number): number {
  return getsockopt(fd, SOL_SOCKET, SO_ERROR).readInt32LE();
}

/** Bytes received, 0 at the end of a stream. */
export function tryReceive(fd: number, buffer: Uint8Array): number {
  return negated(cRecv(fd, buffer, buffer.length, MSG_DONTWAIT));
}

/** Bytes sent, to the peer or, from an unconnected socket, to `address`. */
export function trySend(fd: number, data: Uint8Array, address?: Uint8Array): number {
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  return negated(cSendto(fd, data, data.length, flags, address ?? null, address?.length ?? 0));
}

/** A new socket for the family of an encoded address; `type` is SOCK_STREAM or SOCK_DGRAM. */
export function socketFor(address: Uint8Array, type: number): number {
  return socket((address[0] as number) | ((address[1] as number) << 8), type | SOCK_NONBLOCK, 0);
}

/** `struct sockaddr_in` or `sockaddr_in6`. `scope`: the interface of a link-local address. */
export function encodeInternetAddress(address: string, port: number, scope = 0): Buffer {
  if (isIPv4(address)) {
    const encoded = Buffer.alloc(16);
    encoded.writeUInt16LE(AF_INET, 0);
    encoded.writeUInt16BE(port, 2);
    encoded.set(address.split(".").map(Number), 4);
    return encoded;
  }
  if (!isIPv6(address)) throw new RangeError(`no internet address: ${address}`);
  const encoded = Buffer.alloc(28);
  encoded.writeUInt16LE(AF_INET6, 0);
  encoded.writeUInt16BE(port, 2);
  encoded.set(groupsOf(address), 8);
  encoded.writeUInt32LE(scope, 24);
  return encoded;
}

function groupsOf(address: string): Buffer {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const [, start = "", a, b, c, d] = dotted ?? [];
  const hex = (high: string | undefined, low: string | undefined) =>
    (Number(high) * 256 + Number(low)).toString(16);
  const text = dotted === null ? address : `${start}${hex(a, b)}:${hex(c, d)}`;
  const [head = "", tail] = text.split("::");
  const front = head.split(":").filter(Boolean);
  const back = (tail ?? "").split(":").filter(Boolean);
  const bytes = Buffer.alloc(16);
  for (const [index, group] of front.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  for (const [index, group] of back.entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - (back.length - index) * 2);
  }
  return bytes;
}

function negated(result: number): number {
  if (result >= 0) return result;
  const errno = lastErrno();
  return errno === ERRNO.EINTR ? -ERRNO.EAGAIN : -errno;
}
