import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { type BuiltImage, dockerArchive } from "./archive-build.ts";
import { chainIds, digestOf, shortId } from "./digest.ts";
import { FakeRegistry } from "./testing/fake-registry.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { collector, imageFixture } from "./testing/temporary.ts";

const base = fileLayer("base");
const one = testImage([base, fileLayer("one")]);
const two = testImage([base, fileLayer("two")]);
const container = "c".repeat(64);

async function setUp(t: TestContext, ...images: { image: BuiltImage; tags: string[] }[]) {
  const fixture = await imageFixture(t);
  const { report } = collector();
  await fixture.service.load(Readable.from([dockerArchive(images)]), { quiet: true, report });
  const users = new Map<string, { id: string; running: boolean }[]>();
  const remove = (name: string, options: { force?: boolean } = {}) =>
    fixture.service.remove(name, {
      force: options.force ?? false,
      noPrune: false,
      inUse: (id) => users.get(id) ?? [],
    });
  return { ...fixture, users, remove };
}

function chain(image: BuiltImage): string[] {
  return chainIds(image.layers.map(digestOf));
}

test("the last tag goes, and with it the image and the layers nobody shares", async (t) => {
  const { remove, service, storage, events } = await setUp(
    t,
    { image: one, tags: ["x:1", "x:2"] },
    { image: two, tags: ["y:1"] },
  );
  assert.deepEqual(await remove("x:1"), [{ Untagged: "x:1" }]);
  assert.deepEqual(await remove("x:2"), [
    { Untagged: "x:2" },
    { Deleted: one.id },
    { Deleted: chain(one)[1] },
  ]);
  assert.equal(storage.list().length, 2);
  assert.deepEqual(await remove("y:1"), [
    { Untagged: "y:1" },
    { Deleted: two.id },
    { Deleted: chain(two)[1] },
    { Deleted: chain(two)[0] },
  ]);
  assert.deepEqual(storage.list(), []);
  assert.equal(service.count(), 0);
  assert.deepEqual(events.slice(2), [
    `untag ${one.id}`,
    `untag ${one.id}`,
    `delete ${one.id}`,
    `untag ${two.id}`,
    `delete ${two.id}`,
  ]);
});

test("by id: with one tag it goes, with several only by force", async (t) => {
  const { remove } = await setUp(t, { image: one, tags: ["x:1"] }, { image: two, tags: ["y:1", "z:1"] });
  assert.deepEqual(await remove(shortId(one.id)), [
    { Untagged: "x:1" },
    { Deleted: one.id },
    { Deleted: chain(one)[1] },
  ]);
  await assert.rejects(remove(two.id), {
    code: "conflict",
    message: `conflict: unable to delete ${shortId(two.id)} (must be forced) - image is referenced in multiple repositories`,
  });
  const removed = await remove(two.id, { force: true });
  assert.deepEqual(removed.slice(0, 3), [{ Untagged: "y:1" }, { Untagged: "z:1" }, { Deleted: two.id }]);
});

test("an image in use by a stopped container", async (t) => {
  const { remove, users, service, storage } = await setUp(t, { image: one, tags: ["x:1"] });
  users.set(one.id, [{ id: container, running: false }]);
  await assert.rejects(remove("x:1"), {
    code: "conflict",
    message: `conflict: unable to remove repository reference "x:1" (must force) - container ${container.slice(0, 12)} is using its referenced image ${shortId(one.id)}`,
  });
  await assert.rejects(remove(one.id), {
    code: "conflict",
    message: `conflict: unable to delete ${shortId(one.id)} (must be forced) - image is being used by stopped container ${container.slice(0, 12)}`,
  });
  assert.deepEqual(await remove("x:1", { force: true }), [{ Untagged: "x:1" }, { Deleted: one.id }]);
  assert.throws(() => service.resolve("x:1"), { code: "not-found" });
  assert.throws(() => service.resolve(one.id), { code: "not-found", message: `No such image: ${one.id}` });
  assert.equal(service.count(), 0);
  // The container still stands on the layers.
  assert.equal(storage.list().length, 2);
  await service.collect((id) => users.get(id) ?? []);
  assert.equal(storage.list().length, 2);
  users.clear();
  await service.collect(() => []);
  assert.deepEqual(storage.list(), []);
});

test("an image removed by force and loaded again is an ordinary image", async (t) => {
  const { remove, users, service, storage } = await setUp(t, { image: one, tags: ["x:1"] });
  users.set(one.id, [{ id: container, running: false }]);
  await remove("x:1", { force: true });
  await service.load(Readable.from([dockerArchive([{ image: one, tags: ["x:1"] }])]), {
    quiet: true,
    report: () => {},
  });
  await service.collect(() => []);
  assert.equal(service.resolve("x:1").id, one.id);
  assert.equal(storage.list().length, 2);
});

test("an image that comes back while others are collected stays", async (t) => {
  const { remove, users, service, storage, database } = await setUp(
    t,
    { image: one, tags: ["x:1"] },
    { image: two, tags: ["y:1"] },
  );
  for (const { id } of [one, two]) users.set(id, [{ id: container, running: false }]);
  for (const name of ["x:1", "y:1"]) await remove(name, { force: true });
  const removeDirectory = storage.remove.bind(storage);
  let back: BuiltImage | undefined;
  storage.remove = async (cacheId) => {
    if (back === undefined) {
      const [left] = database.all<{ id: string }>("SELECT id FROM image WHERE withdrawn = 1");
      back = left?.id === one.id ? one : two;
      const archive = Readable.from([dockerArchive([{ image: back, tags: ["z:1"] }])]);
      await service.load(archive, { quiet: true, report: () => {} });
    }
    await removeDirectory(cacheId);
  };
  await service.collect(() => []);
  assert.equal(service.resolve("z:1").id, back?.id);
  assert.equal(storage.list().length, 2);
});

test("a removal that fails half-way can be asked for again, and takes the layers then", async (t) => {
  const { remove, storage, database } = await setUp(t, { image: one, tags: ["x:1"] });
  const durably = database.durably.bind(database);
  let calls = 0;
  database.durably = (body) => {
    // The name's removal is the first.
    if (++calls === 2) throw new Error("the disk failed");
    return durably(body);
  };
  await assert.rejects(remove("x:1"), /the disk failed/);
  assert.deepEqual(await remove(one.id), [
    { Deleted: one.id },
    { Deleted: chain(one)[1] },
    { Deleted: chain(one)[0] },
  ]);
  assert.deepEqual(storage.list(), []);
});

test("a collection that fails half-way is made up for by the next", async (t) => {
  const { remove, users, service, storage, database } = await setUp(t, { image: one, tags: ["x:1"] });
  users.set(one.id, [{ id: container, running: false }]);
  await remove("x:1", { force: true });
  const durably = database.durably.bind(database);
  database.durably = () => {
    throw new Error("the disk failed");
  };
  await assert.rejects(
    service.collect(() => []),
    /the disk failed/,
  );
  database.durably = durably;
  await service.collect(() => []);
  assert.deepEqual(storage.list(), []);
});

test("an image in use by a running container is only ever untagged", async (t) => {
  const { remove, users, service } = await setUp(t, { image: one, tags: ["x:1"] });
  users.set(one.id, [{ id: container, running: true }]);
  await assert.rejects(remove(one.id, { force: true }), {
    code: "conflict",
    message: `conflict: unable to delete ${shortId(one.id)} (cannot be forced) - image is being used by running container ${container.slice(0, 12)}`,
  });
  assert.deepEqual(await remove("x:1", { force: true }), [{ Untagged: "x:1" }]);
  assert.equal(service.resolve(one.id).id, one.id);
});

test("a repository's digest goes with its last tag", async (t) => {
  const { remove, service } = await setUp(t);
  const registry = await FakeRegistry.start(t);
  const { manifest } = registry.publish("x", "1", one);
  const name = `${registry.host}/x`;
  await service.pull({ name, tag: "1", platform: "", report: () => {} });
  assert.deepEqual((await service.inspect(`${name}:1`)).RepoDigests, [`${name}@${manifest.digest}`]);
  assert.equal(service.resolve(`${name}@${manifest.digest}`).id, one.id);
  assert.deepEqual((await remove(`${name}:1`)).slice(0, 3), [
    { Untagged: `${name}:1` },
    { Untagged: `${name}@${manifest.digest}` },
    { Deleted: one.id },
  ]);
});

test("what is not there", async (t) => {
  const { remove } = await setUp(t, { image: one, tags: ["x:1"] });
  await assert.rejects(remove("x"), { code: "not-found", message: "No such image: x:latest" });
  await assert.rejects(remove("deadbeef"), { code: "not-found", message: "No such image: deadbeef:latest" });
  await assert.rejects(remove("X"), { code: "invalid", message: /lowercase/ });
});
