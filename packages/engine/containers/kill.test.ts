/** A kill is not queued: what it may meet under way, and a database that cannot be written meanwhile. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { abandonRestart, followToExit, tellExitWaiters } from "#engine/containers/exit.ts";
import { freezeContainer, setFrozen } from "#engine/containers/pause.ts";
import { killContainer } from "#engine/containers/stop.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { silentLogger } from "#errors/logger-types.ts";
import type { ExitRecord, ShimHandle } from "#program/launcher-client.types.ts";
import { Database } from "#state/database.ts";

/** A running container under a version 1 freezer that is a directory, and a shim that does nothing. */
function open(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), "berth-kill-"));
  const group = join(root, "berth/a1");
  mkdirSync(group, { recursive: true });
  writeFileSync(join(group, "freezer.state"), "THAWED");
  const containers = new ContainerStore(Database.open(":memory:", [containerMigrations]));
  const container = containers.add({
    id: "a1",
    name: "web",
    phase: "present",
    created: "2026-01-01T00:00:00Z",
    config: {},
    hostConfig: { RestartPolicy: { Name: "always" }, LogConfig: { Type: "none" } },
    mounts: [],
    restartCount: 0,
    state: neverRun(),
  } as unknown as ContainerRecord);
  const exit = Promise.withResolvers<ExitRecord>();
  const released = Promise.withResolvers<void>();
  const signals: number[] = [];
  const shim = {
    exited: exit.promise,
    onNote: () => undefined,
    close: () => undefined,
    signal: (signal: number) => signals.push(signal),
  } as unknown as ShimHandle;
  container.live = { shim, controlSocket: "" };
  container.setStatus("running");
  const context = {
    config: { dataRoot: root, execRoot: root },
    logger: silentLogger,
    containers,
    cgroups: { version: 1, v1: { freezer: root }, v2Controllers: [] },
    events: { publish: () => undefined },
    execs: new Map(),
    networks: { settings: () => undefined, release: () => released.promise },
    held: { release: async () => undefined },
  } as unknown as EngineContext;
  t.after(async () => {
    // Whatever failed: nobody goes on waiting.
    clearTimeout(container.restartTimer);
    tellExitWaiters(container);
    await container.cleaned;
    rmSync(root, { recursive: true, force: true });
  });
  const end = (status: "exited" | "restarting") => {
    container.live = undefined;
    container.setStatus(status);
    tellExitWaiters(container);
  };
  const freezer = () => readFileSync(join(group, "freezer.state"), "utf8");
  const failOnce = () =>
    t.mock.method(containers, "save", () => assert.fail("database or disk is full"), { times: 1 });
  return { context, container, group, signals, shim, exit, released, end, freezer, failOnce };
}

test("what is killed while it is being frozen is not left frozen, nor paused", async (t) => {
  const { context, container, signals, end, freezer } = open(t);
  const pausing = freezeContainer(context, container, true);
  const killing = killContainer(context, "web", "KILL");
  await pausing;
  assert.deepEqual(signals, [9]);
  assert.equal(freezer(), "THAWED");
  assert.equal(container.record.state.Status, "running");
  end("exited");
  await killing;
});

test("what has been killed is not left frozen by a pause right behind", async (t) => {
  const { context, container, end, freezer } = open(t);
  const killing = killContainer(context, "web", "KILL");
  await freezeContainer(context, container, true);
  assert.equal(freezer(), "THAWED");
  assert.equal(container.record.state.Status, "running");
  end("exited");
  await killing;
});

for (const status of ["exited", "restarting"] as const) {
  test(`an end between a freeze and its thaw is no failure of the thaw: ${status}`, async (t) => {
    const { context, container, group, end } = open(t);
    await setFrozen(context, container, true, { passing: true });
    end(status);
    rmSync(group, { recursive: true });
    await setFrozen(context, container, false, { passing: true });
    assert.equal(container.record.state.Status, status);
  });

  for (const gone of [false, true]) {
    test(`what ends while it is being frozen is not paused: ${status}, group ${gone ? "gone" : "there"}`, async (t) => {
      const { context, container, group, end } = open(t);
      const pausing = freezeContainer(context, container, true);
      end(status);
      if (gone) rmSync(group, { recursive: true });
      await pausing;
      assert.equal(container.record.state.Status, status);
    });
  }
}

test("a thaw that fails while it runs is told", async (t) => {
  const { context, container, group } = open(t);
  await freezeContainer(context, container, true);
  rmSync(group, { recursive: true });
  await assert.rejects(freezeContainer(context, container, false), /ENOENT/);
  assert.equal(container.record.state.Status, "paused");
});

test("a kill while a run is given back leaves nothing to be restarted", async (t) => {
  const { context, container, group, shim, exit, released } = open(t);
  rmSync(group, { recursive: true });
  followToExit(context, container, shim);
  exit.resolve({ exitCode: 1, signal: undefined, at: 0n });
  await turn();
  assert.equal(container.record.state.Status, "restarting");
  const killing = killContainer(context, "web", "KILL");
  await turn();
  released.resolve();
  await killing;
  await container.settled;
  assert.equal(container.record.state.Status, "exited");
  assert.equal(container.restartTimer, undefined);
});

test("a restart that is given up ends every wait, whether or not that can be stored", (t) => {
  const { context, container, end, failOnce } = open(t);
  end("restarting");
  container.restartTimer = setTimeout(() => undefined, 60_000);
  const told: number[] = [];
  container.exitWaiters.add((exitCode) => told.push(exitCode));
  failOnce();
  assert.equal(abandonRestart(context, container, { inQueue: false }), true);
  assert.deepEqual(told, [0]);
});

test("a signal is sent, whether or not it can be stored that it was", async (t) => {
  const { context, signals, failOnce } = open(t);
  failOnce();
  await killContainer(context, "web", "TERM");
  assert.deepEqual(signals, [15]);
});
