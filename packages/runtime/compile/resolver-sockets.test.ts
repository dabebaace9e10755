import assert from "node:assert/strict";
import { test } from "node:test";
import { compileContainer } from "#runtime/compile-container.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { ContainerLaunch, ResolverProgram } from "#runtime/launch-types.ts";

const host = {
  architecture: "x64" as const,
  lastCapability: 40,
  seccompActions: [],
  apparmor: false,
  kernelRelease: "6.1.0",
};
const resolver: ResolverProgram = {
  address: new Uint8Array(16),
  receiveBuffer: 1 << 20,
  backlog: 128,
  keepAs: { udp: 200, tcp: 201 },
  redirection: { why: "lead questions to the sockets", bytes: new Uint8Array(40) },
};

function listing(change: Partial<ContainerLaunch["sandbox"]>): string {
  const launch: ContainerLaunch = {
    id: "0123456789abcdef",
    spec: defaultSpec({ architecture: "x64", kernelRelease: "6.1.0" }),
    rootfs: { kind: "directory", path: "/root-of-it" },
    cgroups: { version: 2, v1: {}, v2: "/sys/fs/cgroup", v2Controllers: [] },
    sandbox: { host: [], container: [], sysctls: {}, ...change },
    stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
    log: { format: "none", path: "", attrs: "" },
    execDirectory: "/run/x/0123456789abcdef",
    host,
  };
  return compileContainer(launch).program.listing();
}

test("the shim makes the sockets in the container's namespace and is back before the container goes on", () => {
  const shim = listing({ resolver });
  const order = [
    "# go into the container's network namespace",
    "# bring the loopback device up",
    "# make the name server's datagram socket",
    "# make the name server's stream socket",
    "# lead questions to the sockets",
    "# come back from the container's network namespace",
    "# tell the child that its network is there",
  ];
  const places = order.map((text) => shim.indexOf(text));
  assert.ok(!places.includes(-1), `every step is there: ${places.join()}`);
  assert.deepEqual(
    [...places].sort((a, b) => a - b),
    places,
  );
  assert.match(shim, /dup3\(t\d+, 0xc8, /);
  assert.match(shim, /dup3\(t\d+, 0xc9, /);
});

test("without rules the sockets are all there is, and without a name server nothing of it", () => {
  const { redirection: _, ...bare } = resolver;
  assert.doesNotMatch(listing({ resolver: bare }), /lead questions/);
  assert.match(listing({ resolver: bare }), /name server's stream socket/);
  assert.doesNotMatch(listing({}), /name server|come back from/);
});
