/** The name server's two sockets while hardly any descriptor is left: both of them or none, and none stays open. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { FileDescriptor } from "#kernel/fd.ts";
import { socketFor } from "#kernel/nonblocking-sockets.ts";
import { bind, listen, SOCK_DGRAM, SOCK_STREAM } from "#kernel/socket-syscalls.ts";
import { RESOLVER_UDP_FD, resolverAddress } from "#networks/dns/resolver-program.ts";
import { shortOfDescriptors } from "#test/fixtures/few-descriptors.ts";

const closing = "sockets.udp.close(); sockets.tcp.close();";

test("copies of a shim's sockets", async () => {
  using udp = new FileDescriptor(socketFor(resolverAddress(0), SOCK_DGRAM));
  using tcp = new FileDescriptor(socketFor(resolverAddress(0), SOCK_STREAM));
  for (const { number } of [udp, tcp]) bind(number, resolverAddress(0));
  listen(tcp.number, 1);
  const below = Array.from({ length: RESOLVER_UDP_FD - 2 }, () => "ignore" as const);
  const shim = spawn("sh", ["-c", "sleep 1000 & echo $!; wait"], {
    stdio: ["ignore", "pipe", ...below, udp.number, tcp.number],
    detached: true,
  });
  try {
    assert.ok(shim.stdout);
    const [container] = await once(shim.stdout, "data");
    const { failed, done, kept } = await shortOfDescriptors({
      setUp: 'import { socketsOfShim } from "#networks/dns/resolver-sockets.ts";',
      work: `const sockets = socketsOfShim(Number(process.argv[1])); ${closing}`,
      args: [String(container).trim()],
      most: 6,
    });
    assert.deepEqual([failed > 0, done > 0, kept], [true, true, 0]);
  } finally {
    // With what it started.
    process.kill(-(shim.pid ?? 0), "SIGKILL");
  }
});

test("sockets made in a namespace", async () => {
  const { failed, done, kept } = await shortOfDescriptors({
    setUp: 'import { makeSocketsHere } from "#networks/dns/resolver-sockets.ts";',
    work: `const sockets = makeSocketsHere(); ${closing}`,
    most: 6,
    under: ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'],
  });
  assert.deepEqual([failed > 0, done > 0, kept], [true, true, 0]);
});
