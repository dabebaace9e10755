import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContainerRecord, containerMigrations } from "#engine/containers/container-record.ts";
import { ContainerStore } from "#engine/containers/container-store.ts";
import { Database } from "#state/database.ts";

function open() {
  const database = Database.open(":memory:", [containerMigrations]);
  return { database, store: new ContainerStore(database) };
}

function record(id: string, name: string): ContainerRecord {
  return {
    id,
    name,
    phase: "creating",
    created: "2026-01-01T00:00:00Z",
    state: {},
    config: {},
  } as ContainerRecord;
}

test("found by id, name, slashed name and unique prefix", () => {
  const { store } = open();
  store.add(record("abc123", "web"));
  store.add(record("abd456", "db"));
  for (const key of ["abc123", "web", "/web", "abc"]) assert.equal(store.get(key).id, "abc123", key);
  assert.throws(() => store.get("ab"), /multiple IDs found with provided prefix: ab/);
  assert.throws(() => store.get("nemo"), /^BerthError: No such container: nemo$/);
});

test("a name is given once, and again after it was given back", () => {
  const { store } = open();
  const first = store.add(record("a1", "web"));
  assert.throws(
    () => store.add(record("a2", "web")),
    /Conflict\. The container name "\/web" is already in use by container "a1"/,
  );
  store.retire(first, false);
  assert.equal(store.add(record("a2", "web")).id, "a2");
  assert.throws(() => store.add(record("a3", "no spaces")), /Invalid container name \(no spaces\)/);
});

test("a rename that cannot be stored has not happened", (t) => {
  const { database, store } = open();
  const container = store.add(record("a1", "one"));
  const failing = t.mock.method(store, "save", () => assert.fail("disk is full"));
  assert.throws(() => store.rename(container, "two"), /disk is full/);
  assert.equal(container.record.name, "one");
  assert.equal(store.get("one"), container);
  assert.equal(store.find("two"), undefined);
  failing.mock.restore();
  store.rename(container, "two");
  assert.equal(store.get("two"), container);
  assert.equal(store.find("one"), undefined);
  const again = new ContainerStore(database);
  again.load();
  assert.equal(again.get("a1").record.name, "two");
});

test("rows are as the last save left them, and what is being removed keeps its row", () => {
  const { database, store } = open();
  const kept = store.add(record("a1", "one"));
  kept.record.phase = "present";
  store.save(kept);
  const going = store.add(record("a2", "two"));
  store.retire(going, true);
  const again = new ContainerStore(database);
  assert.deepEqual(again.load(), []);
  assert.deepEqual(
    again.all().map((container) => [container.id, container.record.phase, container.record.name]),
    [
      ["a1", "present", "one"],
      ["a2", "removing", ""],
    ],
  );
  assert.deepEqual(again.storedIds().sort(), ["a1", "a2"]);
  again.forget("a2");
  assert.deepEqual(again.storedIds(), ["a1"]);
});

const damages = [
  "{broken",
  "[]",
  "null",
  "{}",
  '{"id":"a2"}',
  JSON.stringify({ ...record("a1", "one"), state: null }),
  JSON.stringify({ ...record("a1", "one"), mounts: {} }),
  JSON.stringify({ ...record("a1", "one"), phase: "gone" }),
];
for (const damage of damages) {
  test(`a damaged row costs itself only, and keeps its name: ${damage.slice(0, 30)}`, () => {
    const { database, store } = open();
    store.add(record("a1", "one"));
    store.add(record("a2", "two"));
    database.run("UPDATE container SET phase = 'present', record = ? WHERE id = 'a1'", damage);
    const again = new ContainerStore(database);
    assert.deepEqual(
      again.load().map(({ id, replaced }) => `${id} ${replaced}`),
      ["a1 empty"],
    );
    assert.equal(again.get("two").id, "a2");
    const { lost, phase, state } = again.get("one").record;
    assert.match(lost ?? "", /damaged/);
    assert.equal(phase, "present");
    assert.equal(state.Status, "exited");
    assert.throws(() => again.add(record("a3", "one")), /already in use/);
    // Written as it is now: the next daemon finds nothing damaged.
    assert.deepEqual(new ContainerStore(database).load(), []);
  });
}
