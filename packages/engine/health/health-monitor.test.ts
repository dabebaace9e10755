import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { stopHealthMonitor, updateHealthMonitor } from "#engine/health/health-monitor.ts";
import { silentLogger } from "#errors/logger-types.ts";
import { Database } from "#state/database.ts";

test("a result that cannot be stored is told, and the next probe comes", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const containers = new ContainerStore(Database.open(":memory:", [containerMigrations]));
  const container = containers.add({
    id: "a1",
    name: "web",
    phase: "present",
    created: "2026-01-01T00:00:00Z",
    config: { Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, Retries: 1 } },
    state: neverRun(),
  } as unknown as ContainerRecord);
  container.setStatus("running");
  const told: string[] = [];
  const context = {
    config: { execRoot: "/nowhere" },
    logger: silentLogger,
    containers,
    events: { publish: (_type: string, action: string) => told.push(action) },
    execs: new Map(),
    // No probe comes so far as to be run: that is a result as well.
    launches: { run: async () => assert.fail("no launcher") },
    background: { run: async () => undefined },
  } as unknown as EngineContext;
  t.mock.method(containers, "save", () => assert.fail("database or disk is full"), { times: 1 });
  updateHealthMonitor(context, container);
  for (let probes = 1; probes <= 2; probes++) {
    t.mock.timers.tick(1000);
    await turn();
    assert.equal(told.filter((action) => action.startsWith("exec_create")).length, probes);
  }
  assert.equal(told.filter((action) => action === "health_status: unhealthy").length, 1);
  stopHealthMonitor(container);
});
