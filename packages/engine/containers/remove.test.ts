import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { removeContainer } from "#engine/containers/remove.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { Database } from "#state/database.ts";

/** A container with a volume of its own, and an engine that notes what it does, with what the database says meanwhile. */
function open() {
  const database = Database.open(":memory:", [containerMigrations]);
  const containers = new ContainerStore(database);
  const mounts = [{ type: "volume", volume: "own", anonymous: true }];
  const record = {
    id: "a1",
    name: "web",
    phase: "present",
    created: "2026-01-01T00:00:00Z",
    config: {},
    mounts,
  };
  const container = containers.add({ ...record, state: neverRun() } as unknown as ContainerRecord);
  const done: string[] = [];
  const note = (what: string) => {
    const [row] = database.all<{ phase: string; record: string }>("SELECT phase, record FROM container");
    const stored = row && (JSON.parse(row.record) as ContainerRecord);
    done.push(`${what}: ${row?.phase}${stored?.takesVolumes ? " with volumes" : ""}`);
  };
  const context = {
    containers,
    volumes: { dereference: () => undefined, remove: async (name: string) => note(`volume ${name} removed`) },
    events: { publish: (_type: string, action: string) => note(action) },
    background: { run: async () => note("files deleted") },
  } as unknown as EngineContext;
  return { containers, container, context, done };
}

test("a removal with volumes is stored before the first of them goes", async () => {
  const { containers, container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: true });
  assert.deepEqual(done, [
    "volume own removed: removing with volumes",
    "destroy: removing with volumes",
    "files deleted: removing with volumes",
  ]);
  assert.equal(containers.find("web"), undefined);
});

test("a removal without volumes is finished without them, by whichever daemon", async () => {
  const { container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: false });
  assert.deepEqual(done, ["destroy: present", "files deleted: removing"]);
});

test("of two removals that waited for their turn the second finds nothing to do", async () => {
  const { container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: true });
  const { length } = done;
  await removeContainer(context, container, { force: false, volumes: true });
  assert.equal(done.length, length);
});
