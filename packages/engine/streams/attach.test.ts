import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex, PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { Container } from "#engine/containers/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { connectPending, joinStreams } from "#engine/streams/attach.ts";
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

test("a shim that was gone before its client could be joined to it keeps nobody waiting", async () => {
  const shim = new Socket();
  const closed = once(shim, "close");
  shim.destroy();
  await closed;
  await joinStreams(new PassThrough(), shim, { stdin: false, detachKeys: undefined });
});

test("what a client had said when it left is delivered, and what it does not hear keeps nobody from listening", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-attach-"));
  const path = join(directory, "shim.sock");
  const delivered = Promise.withResolvers<number>();
  const server = createServer((socket) => {
    // Listens when it has been heard.
    socket.write(Buffer.alloc(4_000_000), async () => delivered.resolve((await buffer(socket)).length));
  }).listen(path);
  try {
    const client = new Duplex({ read() {}, write() {} });
    client.once("end", () => client.destroy());
    client.push(Buffer.alloc(1_000_000));
    client.push(null);
    // Takes it all at once, more than the kernel's buffers have room for.
    const options = { path, writableHighWaterMark: 2_000_000 };
    await joinStreams(client, connect(options), { stdin: true, detachKeys: undefined });
    assert.equal(await delivered.promise, 1_000_000);
  } finally {
    server.close();
    rmSync(directory, { recursive: true });
  }
});
