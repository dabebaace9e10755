/** What becomes of sockets that the name server cannot serve. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { encodeInternetAddress, socketFor, trySend } from "#kernel/nonblocking-sockets.ts";
import { pidfdGetfd, pidfdOpen } from "#kernel/process-syscalls.ts";
import { bind, getsockname, listen, SOCK_DGRAM, SOCK_STREAM } from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { NameServer } from "#networks/dns/name-server.ts";
import type { ResolverSockets } from "#networks/dns/resolver-sockets.ts";

function makeSockets(): ResolverSockets {
  const address = encodeInternetAddress("127.0.0.1", 0);
  const udp = new FileDescriptor(socketFor(address, SOCK_DGRAM));
  const tcp = new FileDescriptor(socketFor(address, SOCK_STREAM));
  for (const { number } of [udp, tcp]) bind(number, address);
  listen(tcp.number, 1);
  return { udp, tcp };
}

for (const [call, which] of ["first", "second"].entries()) {
  test(`where the ${which} socket cannot be watched, both are closed and neither is heard any more`, (t) => {
    using server = new NameServer();
    const { udp, tcp } = makeSockets();
    using self = new FileDescriptor(pidfdOpen(process.pid));
    // As the shim has one: closing ours alone does not end a watch.
    using copy = new FileDescriptor(pidfdGetfd(self.number, udp.number));
    const refuse = () => {
      throw new SyscallError("epoll_ctl", ERRNO.ENOMEM);
    };
    t.mock.method(server.poller, "watch").mock.mockImplementationOnce(refuse, call);
    assert.throws(() => server.serve("c1", { udp, tcp }), { code: "ENOMEM" });
    assert.deepEqual([udp.isOpen, tcp.isOpen], [false, false]);
    trySend(copy.number, Buffer.from("a question"), getsockname(copy.number));
    server.poller.poll(0);
    server.serve("c1", makeSockets());
  });
}
