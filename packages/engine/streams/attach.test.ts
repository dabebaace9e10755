import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Container } from "#engine/containers/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { connectPending } from "#engine/streams/attach.ts";
import { createLauncherClient } from "#program/launcher-client.ts";

const streams = { stdin: false, stdout: true, stderr: true };

/** What the client that waits for the start is told. */
async function told(socket: string): Promise<string> {
  const container = new Container({ id: "a1" } as ContainerRecord);
  const said = Promise.withResolvers<string>();
  container.pendingAttaches.add({
    streams,
    connected: () => said.resolve("connected"),
    abandoned: () => said.resolve("abandoned"),
    failed: (error) => said.resolve(String(error)),
  });
  const launcher = createLauncherClient({ launcherPath: "/nowhere", socketPath: "/nowhere" });
  await connectPending({ launcher } as unknown as EngineContext, container, socket);
  return said.promise;
}

test("a shim that is gone when its client would be connected had a start that failed: the start says why", async () => {
  assert.equal(await told("/nowhere/shim.sock"), "abandoned");
});

test("a shim that cannot be reached is a failure of its own", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-attach-"));
  try {
    // A path that no socket can have.
    assert.match(await told(join(directory, "long".repeat(40))), /no connection to the launcher: /);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
