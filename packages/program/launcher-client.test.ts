/** Coming back to a shim, as far as that shows without one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLauncherClient } from "#program/launcher-client.ts";

async function listening(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

test("a shim that was found again while it started, and failed, has ended", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "berth-shim-"));
  const path = join(directory, "shim.sock");
  // As a shim does whose program fails: what it says goes to who launched it, and all connections close.
  const server = createServer((socket) => socket.once("data", () => socket.destroy()));
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  await listening(server, path);
  const client = createLauncherClient({ launcherPath: "/nowhere", socketPath: join(directory, "none") });
  const shim = await client.reconnect(path, join(directory, "exit"));
  assert.deepEqual((await shim.exited).exitCode, 137);
  await assert.rejects(shim.started, { code: "unavailable" });
});
