/**
 * The two sockets at 127.0.0.11 in a container's network namespace: who makes them, who keeps them, how they are found.
 *
 * As a rule the container's shim has made them before the container's program began, and keeps them under two numbers
 * for as long as the container runs; a daemon takes copies. A container that got onto its first user-defined network
 * while it ran has a shim without: then the server makes them, and the shim is told to keep copies under these numbers.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { getGeneration } from "#kernel/netlink/nftables-messages.ts";
import { socketFor } from "#kernel/nonblocking-sockets.ts";
import { readProcessStatus } from "#kernel/process-status.ts";
import { pidfdGetfd, pidfdOpen } from "#kernel/process-syscalls.ts";
import {
  bind,
  getsockname,
  listen,
  SO_RCVBUFFORCE,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  setsockopt,
} from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";
import { inNetwork } from "#kernel/thread-network.ts";
import {
  choosePort,
  newRedirection,
  RECEIVE_BUFFER,
  RESOLVER_BACKLOG,
  RESOLVER_TCP_FD,
  RESOLVER_UDP_FD,
  replaceRedirection,
  resolverAddress,
} from "#networks/dns/resolver-program.ts";

export interface ResolverSockets {
  udp: FileDescriptor;
  tcp: FileDescriptor;
}

/** Ports that may turn out to be taken, in a namespace others were in before. */
const ATTEMPTS = 16;

/** Copies of what the shim of the container's first process keeps; undefined if it keeps none. */
export function socketsOfShim(containerPid: number): ResolverSockets | undefined {
  const shim = readProcessStatus(containerPid)?.parentPid;
  if (shim === undefined) return undefined;
  try {
    using pidfd = new FileDescriptor(pidfdOpen(shim));
    // One that stays open keeps the container's namespace.
    using udp = new FileDescriptor(pidfdGetfd(pidfd.number, RESOLVER_UDP_FD));
    if (!isOurs(udp.number)) return undefined;
    const tcp = new FileDescriptor(pidfdGetfd(pidfd.number, RESOLVER_TCP_FD));
    return { udp: new FileDescriptor(udp.release()), tcp };
  } catch (error) {
    // It has ended, or has nothing under these numbers.
    if (error instanceof SyscallError && [ERRNO.ESRCH, ERRNO.EBADF].includes(error.errno)) return undefined;
    throw error;
  }
}

function isOurs(fd: number): boolean {
  try {
    return getsockname(fd).subarray(4, 8).equals(resolverAddress(0).subarray(4, 8));
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ERRNO.ENOTSOCK) return false;
    throw error;
  }
}

/** Makes both in the namespace of a process, with what leads port 53 to them. In a worker thread. */
export function makeSockets(pid: number): ResolverSockets {
  using namespace = new FileDescriptor(open(`/proc/${pid}/ns/net`, O_RDONLY));
  return inNetwork(namespace.number, makeSocketsHere);
}

/** In the namespace this thread is in. */
export function makeSocketsHere(): ResolverSockets {
  const redirects = canRedirect();
  for (let attempt = 1; ; attempt++) {
    const port = redirects ? choosePort() : 53;
    using udp = new FileDescriptor(socketFor(resolverAddress(port), SOCK_DGRAM));
    using tcp = new FileDescriptor(socketFor(resolverAddress(port), SOCK_STREAM));
    try {
      for (const fd of [udp.number, tcp.number]) bind(fd, resolverAddress(port));
      setsockopt(udp.number, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
      listen(tcp.number, RESOLVER_BACKLOG);
      if (redirects) redirect(port);
      return { udp: new FileDescriptor(udp.release()), tcp: new FileDescriptor(tcp.release()) };
    } catch (error) {
      const taken = error instanceof SyscallError && error.errno === ERRNO.EADDRINUSE;
      if (!taken || attempt === ATTEMPTS || !redirects) throw error;
    }
  }
}

function redirect(port: number): void {
  using netlink = new NetlinkSocket(NETLINK_NETFILTER);
  // There is one already that was made for the daemon before this one, or there is none.
  if (netlink.tryBatch(replaceRedirection(port)) === 0) return;
  const errno = netlink.tryBatch(newRedirection(port));
  if (errno !== 0) throw new SyscallError("netlink", errno, [`lead port 53 of 127.0.0.11 to ${port}`]);
}

/** Does this kernel have nf_tables? Without, the sockets are at port 53 themselves. */
export function canRedirect(): boolean {
  try {
    using netlink = new NetlinkSocket(NETLINK_NETFILTER);
    return netlink.tryRequest(getGeneration()) === 0;
  } catch (error) {
    if (error instanceof SyscallError) return false;
    throw error;
  }
}
