/**
 * The sockets of a container's name server: the shim goes into the container's network namespace, makes them, and comes
 * back. It never uses them: it keeps them for the daemons that come and go.
 */
import { ANY_ERRNO, type Label, type Register } from "#program/types.ts";
import {
  AF_INET,
  AT_FDCWD,
  CLONE,
  NETLINK_NETFILTER,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "#runtime/compile/kernel-constants.ts";
import { loopbackUp, sendRequests } from "#runtime/compile/network-setup.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { ResolverProgram } from "#runtime/launch-types.ts";

/** `failed`: where the shim goes on if the child has ended, which has said why. */
export function makeResolverSockets(
  w: ProgramWriter,
  resolver: ResolverProgram,
  pid: Register,
  failed: Label,
): void {
  const { b, O } = w;
  const prefix = "/proc/";
  const path = b.bytes(new TextEncoder().encode(prefix.padEnd(prefix.length + 32, "\0")));
  w.borrow((home) => {
    w.borrow((inside) => {
      const why = "go into the container's network namespace";
      w.borrow((length) => {
        b.formatDecimal(pid, b.slice(path, prefix.length), length);
      });
      w.open("/proc/self/ns/net", O.RDONLY, home, "hold the host's network namespace");
      openNetworkOf(w, path, inside);
      b.jumpIfNegative(inside, failed);
      b.sys("setns", [inside, CLONE.NEWNET], { why });
      w.close(inside);
    });
    // A socket that is bound while its address is down sends from another one.
    sendRequests(w, [loopbackUp()]);
    makeSocket(w, resolver, SOCK_DGRAM, resolver.keepAs.udp);
    makeSocket(w, resolver, SOCK_STREAM, resolver.keepAs.tcp);
    if (resolver.redirection !== undefined) {
      sendRequests(w, [{ ...resolver.redirection, pidAt: [] }], undefined, NETLINK_NETFILTER);
    }
    b.sys("setns", [home, CLONE.NEWNET], { why: "come back from the container's network namespace" });
    w.close(home);
  });
}

/** `directory`: "/proc/<pid>". A child that has ended has no namespace any more. */
function openNetworkOf(
  w: ProgramWriter,
  directory: ReturnType<ProgramWriter["b"]["cstr"]>,
  into: Register,
): void {
  const { b, O } = w;
  const why = "open the container's network namespace";
  w.borrow((process) => {
    b.sys("openat", [AT_FDCWD, directory, O.PATH | O.DIRECTORY | O.CLOEXEC, 0], {
      into: process,
      ignore: ANY_ERRNO,
      why,
    });
    b.sys("openat", [process, b.cstr("ns/net"), O.CLOEXEC, 0], { into, ignore: ANY_ERRNO, why });
    b.sys("close", [process], { ignore: ANY_ERRNO, why });
  });
}

function makeSocket(w: ProgramWriter, resolver: ResolverProgram, type: number, number: number): void {
  const { b } = w;
  const stream = type === SOCK_STREAM;
  const why = `make the name server's ${stream ? "stream" : "datagram"} socket`;
  const { address } = resolver;
  w.borrow((fd) => {
    b.sys("socket", [AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0], { into: fd, why });
    b.sys("bind", [fd, b.bytes(address), address.length], { why });
    if (stream) b.sys("listen", [fd, resolver.backlog], { why });
    else {
      const room = w.constant({ width: 4, value: resolver.receiveBuffer });
      // Where that takes more rights than we have, the usual room has to do.
      b.sys("setsockopt", [fd, SOL_SOCKET, SO_RCVBUFFORCE, room, 4], { ignore: ANY_ERRNO, why });
    }
    b.sys("dup3", [fd, number, w.O.CLOEXEC], { why });
    w.close(fd);
  });
}
