import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContainerRecord, containerMigrations, neverRun } from "#engine/containers/container-record.ts";
import { Containers } from "#engine/containers/container-service.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { removeContainer } from "#engine/containers/remove.ts";
import { startContainer } from "#engine/containers/start.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { silentLogger } from "#errors/logger-types.ts";
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
    state: neverRun(),
  } as unknown as ContainerRecord;
  const container = containers.add(record);
  const done: string[] = [];
  const note = (what: string) => {
    const [row] = database.all<{ phase: string; record: string }>("SELECT phase, record FROM container");
    const stored = row && (JSON.parse(row.record) as ContainerRecord);
    done.push(`${what}: ${row?.phase}${stored?.takesVolumes ? " with volumes" : ""}`);
  };
  const context = {
    containers,
    volumes: { dereference: () => undefined, remove: async (name: string) => note(`volume ${name} removed`) },
    events: {
      publish: (_type: string, action: string, _id: string, { name }: Record<string, string>) =>
        note(`${action} of ${name}`),
    },
    background: {
      run: async () => {
        await undefined;
        note("files deleted");
      },
    },
    logger: silentLogger,
  } as unknown as EngineContext;
  return { containers, container, context, done };
}

test("a removal with volumes is stored before the first of them goes", async () => {
  const { containers, container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: true });
  assert.deepEqual(done, [
    "volume own removed: removing with volumes",
    "destroy of web: removing with volumes",
    "files deleted: removing with volumes",
  ]);
  assert.equal(containers.find("web"), undefined);
});

test("a removal without volumes is finished without them, by whichever daemon", async () => {
  const { container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: false });
  assert.deepEqual(done, ["destroy of web: removing", "files deleted: removing"]);
});

test("of two removals that waited for their turn the second finds nothing to do", async () => {
  const { container, context, done } = open();
  await removeContainer(context, container, { force: false, volumes: true });
  const { length } = done;
  await removeContainer(context, container, { force: false, volumes: true });
  assert.equal(done.length, length);
});

test("what waited behind a removal has nothing to work on, and the name it asked for is free", async () => {
  const { containers, container, context } = open();
  const service = new Containers(context);
  const verbs = await Promise.allSettled([
    service.remove("web", { force: false, volumes: false, link: false }),
    service.rename("web", "other"),
    service.start("web"),
  ]);
  assert.deepEqual(
    verbs.map((verb) => (verb.status === "rejected" ? String(verb.reason) : verb.status)),
    ["fulfilled", "BerthError: No such container: a1", "BerthError: No such container: a1"],
  );
  containers.add({ ...container.record, id: "a2", name: "other" });
});

test("a removal that cannot be stored half-way is not told, and can only be finished", async (t) => {
  const { containers, container, context, done } = open();
  const { save } = containers;
  const failing = t.mock.method(containers, "save", (saved: typeof container) => {
    if (saved.record.name === "") assert.fail("disk is full");
    save.call(containers, saved);
  });
  await assert.rejects(removeContainer(context, container, { force: false, volumes: true }), /disk is full/);
  assert.deepEqual(done, ["volume own removed: removing with volumes"]);
  assert.equal(containers.get("web"), container);
  await assert.rejects(startContainer(context, container), /marked for removal and cannot be started/);
  failing.mock.restore();
  await removeContainer(context, container, { force: false, volumes: true });
  assert.deepEqual(done.slice(2), [
    "destroy of web: removing with volumes",
    "files deleted: removing with volumes",
  ]);
});

test("volumes that cannot be freed yet keep no files", async (t) => {
  const { container, context, done } = open();
  t.mock.method(context.volumes, "dereference", () => assert.fail("disk is full"));
  await removeContainer(context, container, { force: false, volumes: false });
  assert.deepEqual(done, ["destroy of web: removing", "files deleted: removing"]);
});
