/** `--rm` while nothing can be stored: late, but surely. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { followToExit } from "#engine/containers/exit.ts";
import { startContainer } from "#engine/containers/start.ts";
import { BackgroundWork, type EngineContext } from "#engine/engine-context.ts";
import { silentLogger } from "#errors/logger-types.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import { Database } from "#state/database.ts";

/** A container to be removed after its run, and an engine that can store everything but that this is done. */
function open(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const root = mkdtempSync(join(tmpdir(), "berth-rm-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const containers = new ContainerStore(Database.open(":memory:", [containerMigrations]));
  const container = containers.add({
    id: "a1",
    name: "web",
    phase: "present",
    created: "2026-01-01T00:00:00Z",
    config: {},
    hostConfig: { AutoRemove: true, LogConfig: { Type: "none" } },
    mounts: [{ type: "volume", volume: "own", anonymous: true }],
    state: neverRun(),
  } as unknown as ContainerRecord);
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
  const events: string[] = [];
  const context = {
    config: { dataRoot: root, execRoot: root },
    logger,
    containers,
    background: new BackgroundWork(logger),
    cgroups: { version: 1, v1: {}, v2Controllers: [] },
    events: { publish: (_type: string, action: string) => events.push(action) },
    execs: new Map(),
    networks: { settings: () => undefined, release: async () => undefined },
    held: { release: async () => undefined },
    volumes: { unmount: async () => undefined, dereference: () => undefined, remove: async () => undefined },
    logs: { forget: async () => undefined },
    storage: { remove: async () => undefined },
    images: { collect: async () => undefined },
    launches: { run: () => Promise.reject(new Error("no address is left")) },
  } as unknown as EngineContext;
  const { save } = containers;
  const failing = t.mock.method(containers, "save", (saved: typeof container) => {
    if (saved.record.name === "") assert.fail("disk is full");
    save.call(containers, saved);
  });
  return { containers, container, context, errors, events, failing };
}

test("an automatic removal that cannot be stored is tried until it can be, and told of once", async (t) => {
  const { containers, container, context, errors, events, failing } = open(t);
  container.setStatus("running");
  const shim = {
    exited: Promise.resolve<ExitRecord>({ exitCode: 3, signal: undefined, at: 0n }),
    onNote: () => undefined,
    close: () => undefined,
  } as unknown as ShimHandle;
  const waited = Promise.withResolvers<number>();
  container.removalWaiters.add(waited.resolve);
  followToExit(context, container, shim);
  await container.settled;
  // A shutdown meanwhile waits for no further try.
  await context.background.drain();
  t.mock.timers.tick(1000);
  await context.background.drain();
  assert.equal(containers.get("web"), container);
  assert.deepEqual(errors, ["a container cannot be removed yet"]);
  assert.deepEqual(events, ["die"]);

  failing.mock.restore();
  t.mock.timers.tick(1000);
  assert.equal(await waited.promise, 3);
  await context.background.drain();
  assert.deepEqual(events, ["die", "destroy"]);
  assert.deepEqual(containers.storedIds(), []);
  assert.equal(errors.length, 1);
});

test("a start that fails says why, whether or not its container can be removed", async (t) => {
  const { containers, container, context, events, failing } = open(t);
  await assert.rejects(
    container.queue.run(() => startContainer(context, container)),
    /no address is left/,
  );
  assert.equal(containers.get("web"), container);
  failing.mock.restore();
  t.mock.timers.tick(1000);
  await context.background.drain();
  assert.equal(containers.find("web"), undefined);
  assert.deepEqual(events, ["destroy"]);
});
