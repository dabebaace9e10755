/** Output that cannot be passed on for a while: what becomes of it when its container has ended meanwhile. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import { type ContainerLogs, containerLogs } from "#logs/container-logs.ts";
import { LogService } from "#logs/log-service.ts";
import type { ShipTask } from "#logs/ship-types.ts";
import { RotatingWriter } from "#logs/testing/rotating-writer.ts";
import { streamServer, type TestServer } from "#logs/testing/servers.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const root = mkdtempSync(join(tmpdir(), "berth-log-service-"));
after(() => rmSync(root, { recursive: true }));

const ID = "0123456789abcdef".repeat(4);
/** As a removal has it, ms. */
const PATIENCE = 10_000;

/** A log of one line, and a service that fails to pass it on for as long as a directory is in its position's place. */
function setUp(server: TestServer) {
  const directory = mkdtempSync(join(root, "x"));
  const info = {
    id: ID,
    name: "web",
    imageId: "sha256:abc",
    imageName: "image",
    path: "/bin/x",
    args: [],
    created: "2026-01-02T03:04:05Z",
    env: [],
    labels: {},
    logPath: "",
  };
  const options = { "syslog-address": `tcp://127.0.0.1:${server.port}` };
  const logs = containerLogs("syslog", options, info, directory) as ContainerLogs & { ship: ShipTask };
  new RotatingWriter(logs.log).write({ text: "hello", stream: "stdout", time: 1n });
  mkdirSync(logs.ship.position);
  const failed = Promise.withResolvers<void>();
  const warnings: string[] = [];
  const logger = {
    ...silentLogger,
    warn: (text: string) => warnings.push(text),
    error: () => failed.resolve(),
  };
  const service = new LogService(logger, 50);
  return {
    service,
    logs,
    warnings,
    failed: failed.promise,
    mend: () => rmdirSync(logs.ship.position),
    [Symbol.asyncDispose]: () => service.close(),
  };
}

test("what could not be passed on when its container had ended is waited for by who removes it", async () => {
  await using server = await streamServer();
  await using one = setUp(server);
  one.service.follow(ID, one.logs, Promise.resolve());
  await one.failed;
  one.mend();
  await one.service.forget(ID, PATIENCE);
  await eventually(() => assert.match(server.bytes().toString(), /: hello\n/));
  assert.deepEqual(one.warnings, []);
});

test("a container that ends between a failure and the next attempt has ended for that, too", async () => {
  await using server = await streamServer();
  await using one = setUp(server);
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  one.service.follow(ID, one.logs, ended);
  await one.failed;
  end();
  one.mend();
  await eventually(() => assert.match(server.bytes().toString(), /: hello\n/));
  await one.service.forget(ID, PATIENCE);
  assert.deepEqual(one.warnings, []);
});

test("what still cannot be passed on when its container is removed is given up, and that is told", async () => {
  await using server = await streamServer();
  await using one = setUp(server);
  one.service.follow(ID, one.logs, Promise.resolve());
  await one.failed;
  await one.service.forget(ID, 0);
  assert.deepEqual(one.warnings, ["a removed container's log output could not be delivered"]);
});
