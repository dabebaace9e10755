import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerLaunch, NetlinkRequest } from "#runtime/launch-types.ts";
import { launchToKeep } from "./describe-program.ts";

const message = (why: string, ...bytes: number[]): NetlinkRequest => ({
  why,
  bytes: Buffer.from(bytes),
  pidAt: [1],
});

test("a launch that is kept has the same messages, in memory that is theirs alone", () => {
  const sandbox = {
    host: [message("first", 1, 2, 3), message("none")],
    container: [message("second", 4, 5)],
    sysctls: { a: "1" },
    resolver: {
      address: new Uint8Array([9]),
      receiveBuffer: 1,
      backlog: 2,
      keepAs: { udp: 3, tcp: 4 },
      redirection: { why: "third", bytes: Buffer.from([6]) },
    },
  };
  const launch = { sandbox, execDirectory: "/there" } as Partial<ContainerLaunch> as ContainerLaunch;
  const kept = launchToKeep(launch);
  const bytes = [...kept.sandbox.host, ...kept.sandbox.container].map((one) => [
    one.why,
    [...one.bytes],
    one.pidAt,
  ]);
  assert.deepEqual(bytes, [
    ["first", [1, 2, 3], [1]],
    ["none", [], [1]],
    ["second", [4, 5], [1]],
  ]);
  assert.deepEqual([...(kept.sandbox.resolver?.redirection?.bytes ?? [])], [6]);
  assert.equal(kept.execDirectory, "/there");
  assert.equal(kept.sandbox.container[0]?.bytes.buffer.byteLength, 6);
});

test("one without a name server has none when it is kept", () => {
  const sandbox = { host: [], container: [], sysctls: {} };
  assert.deepEqual(launchToKeep({ sandbox } as Partial<ContainerLaunch> as ContainerLaunch), { sandbox });
});
