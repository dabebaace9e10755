/**
 * Sockets, synchronous and by descriptor: what netlink needs, and passing descriptors over unix sockets.
 *
 * Stream traffic with clients goes through node:net; this is for kernel interfaces that answer at once.
 */
import { addressOf, fail, libcFunction, retrying } from "#kernel/libc.ts";
import { pathBytes } from "#kernel/path-bytes.ts";

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_PEERCRED = 17;
export const SO_RCVTIMEO = 20;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SOL_NETLINK = 270;

export const MSG_PEEK = 0x2;
export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

const cSocket = libcFunction("int socket(int family, int type, int protocol)");
const cBind = libcFunction("int bind(int fd, void *address, unsigned int length)");
const cListen = libcFunction("int listen(int fd, int backlog)");
const cConnect = libcFunction("int connect(int fd, void *address, unsigned int length)");
const cGetsockname = libcFunction("int getsockname(int fd, void *address, void *length)");
const cSetsockopt = libcFunction(
  "int setsockopt(int fd, int level, int name, void *value, unsigned int length)",
);
const cGetsockopt = libcFunction("int getsockopt(int fd, int level, int name, void *value, void *length)");
const cSendto = libcFunction(
  "int64_t sendto(int fd, void *data, size_t length, int flags, void *address, unsigned int addressLength)",
);
const cRecv = libcFunction("int64_t recv(int fd, void *data, size_t length, int flags)");
const cSendmsg = libcFunction("int64_t sendmsg(int fd, void *message, int flags)");
const cRecvmsg = libcFunction("int64_t recvmsg(int fd, void *message, int flags)");

/** Makes a socket, close-on-exec. `type` may carry SOCK_NONBLOCK. */
export function socket(family: number, type: number, protocol: number): number {
  const fd = cSocket(family, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) fail("socket", [family, type, protocol]);
  return fd;
}

/** `address` is an encoded sockaddr of its exact length. */
export function bind(fd: number, address: Uint8Array): void {
  if (cBind(fd, address, address.length) < 0) fail("bind", [fd]);
}

export function listen(fd: number, backlog: number): void {
  if (cListen(fd, backlog) < 0) fail("listen", [fd, backlog]);
}

export function connect(fd: number, address: Uint8Array): void {
  if (cConnect(fd, address, address.length) < 0) fail("connect", [fd]);
}

/** The encoded sockaddr the socket is bound to. */
export function getsockname(fd: number): Buffer {
  const address = Buffer.alloc(128);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  if (cGetsockname(fd, address, length) < 0) fail("getsockname", [fd]);
  return address.subarray(0, length.readUInt32LE());
}

/** Sets an option; a number is passed as an int of four bytes. */
export function setsockopt(fd: number, level: number, name: number, value: number | Uint8Array): void {
  const bytes = typeof value === "number" ? encodeInt(value) : value;
  if (cSetsockopt(fd, level, name, bytes, bytes.length) < 0) fail("setsockopt", [fd, level, name]);
}

/** An option's value; `size` is the largest it can have, in bytes. */
export function getsockopt(fd: number, level: number, name: number, size = 4): Buffer {
  const value = Buffer.alloc(size);
  const length = encodeInt(size);
  if (cGetsockopt(fd, level, name, value, length) < 0) fail("getsockopt", [fd, level, name]);
  return value.subarray(0, length.readUInt32LE());
}

/** Sends one message; without an address to the connected peer. Never raises SIGPIPE. Returns bytes sent. */
export function sendto(fd: number, data: Uint8Array, flags = 0, address?: Uint8Array): number {
  return retrying("sendto", [fd, data.length, flags], () =>
    cSendto(fd, data, data.length, flags | MSG_NOSIGNAL, address ?? null, address?.length ?? 0),
  );
}

/**
 * Receives into `buffer`; returns the bytes received, 0 at the end of a stream. With MSG_TRUNC a datagram's full length
 * is returned even when it did not fit. Blocks the thread unless MSG_DONTWAIT or SOCK_NONBLOCK says otherwise (EAGAIN).
 */
export function recv(fd: number, buffer: Uint8Array, flags = 0): number {
  return retrying("recv", [fd, buffer.length, flags], () => cRecv(fd, buffer, buffer.length, flags));
}

/** `struct sockaddr_nl`: family, padding, port id, multicast groups. */
export function encodeNetlinkAddress(portId = 0, groups = 0): Buffer {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(portId, 4);
  address.writeUInt32LE(groups >>> 0, 8);
  return address;
}

/** `struct sockaddr_un`; a leading "\0" means the abstract namespace. At most 107 bytes of path. */
export function encodeUnixAddress(path: string): Buffer {
  const name = path.startsWith("\0") ? Buffer.from(path) : Buffer.concat([pathBytes(path), Buffer.alloc(1)]);
  if (name.length > 108)
    throw new RangeError(`unix socket path of ${name.length} bytes is too long: ${path}`);
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  return address;
}

/** Sends bytes and descriptors (SCM_RIGHTS) together. At least one byte of data is needed. Returns bytes sent. */
export function sendDescriptors(
  fd: number,
  data: Uint8Array,
  descriptors: readonly number[],
  flags = 0,
): number {
  const control = encodeRights(descriptors);
  const message = encodeMessageHeader(data, control);
  return retrying("sendmsg", [fd, data.length, flags], () =>
    cSendmsg(fd, message.header, flags | MSG_NOSIGNAL),
  );
}

/** Receives bytes and up to `maximum` descriptors, which the caller then owns (close-on-exec). */
export function receiveDescriptors(
  fd: number,
  buffer: Uint8Array,
  maximum: number,
  flags = 0,
): { length: number; descriptors: number[] } {
  const control = Buffer.alloc(controlSpace(maximum));
  const message = encodeMessageHeader(buffer, control);
  const length = retrying("recvmsg", [fd, buffer.length, flags], () =>
    cRecvmsg(fd, message.header, flags | MSG_CMSG_CLOEXEC),
  );
  const used = Number(message.header.readBigUInt64LE(40));
  return { length, descriptors: decodeRights(control.subarray(0, used)) };
}

const SCM_RIGHTS = 1;
/** `struct cmsghdr` on 64-bit: length (8), level (4), type (4). */
const controlHeaderSize = 16;

function controlSpace(count: number): number {
  return (controlHeaderSize + 4 * count + 7) & ~7;
}

/** One control message holding descriptors, padded to eight bytes; empty for none. */
export function encodeRights(descriptors: readonly number[]): Buffer {
  if (descriptors.length === 0) return Buffer.alloc(0);
  const control = Buffer.alloc(controlSpace(descriptors.length));
  control.writeBigUInt64LE(BigInt(controlHeaderSize + 4 * descriptors.length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  for (const [index, descriptor] of descriptors.entries()) {
    control.writeInt32LE(descriptor, controlHeaderSize + 4 * index);
  }
  return control;
}

/** Every descriptor in a control buffer, whatever messages it holds. */
export function decodeRights(control: Buffer): number[] {
  const descriptors: number[] = [];
  let at = 0;
  while (at + controlHeaderSize <= control.length) {
    const length = Number(control.readBigUInt64LE(at));
    if (length < controlHeaderSize || at + length > control.length) break;
    if (control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS) {
      for (let field = at + controlHeaderSize; field + 4 <= at + length; field += 4) {
        descriptors.push(control.readInt32LE(field));
      }
    }
    at += (length + 7) & ~7;
  }
  return descriptors;
}

/**
 * `struct msghdr` on 64-bit with one iovec: name, name length, iov, iov length, control, control length, flags. The
 * buffers are part of the result so that they live as long as the header that points at them.
 */
function encodeMessageHeader(data: Uint8Array, control: Buffer) {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  if (control.length > 0) {
    header.writeBigUInt64LE(addressOf(control), 32);
    header.writeBigUInt64LE(BigInt(control.length), 40);
  }
  return { header, vector, data, control };
}

function encodeInt(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
