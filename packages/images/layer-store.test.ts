import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import type { StagedLayer } from "#storage/staging/staging-types.ts";
import { dockerArchive } from "./archive-build.ts";
import { digestOf } from "./digest.ts";
import { LayerStore } from "./layer-store.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { type Fixture, imageFixture } from "./testing/temporary.ts";

/** Diff id of an archive without entries. */
const emptyLayer = digestOf(Buffer.alloc(1024));
const base = testImage([fileLayer("base")]);
const everything = { force: true, noPrune: false, inUse: () => [] };

/** What fills a directory and finds that its layer is there already. Each needs an image to begin with. */
const ways = {
  "a commit of nothing": async ({ service }: Fixture) => {
    const { id } = await service.commit({
      base: base.id,
      container: { id: "c".repeat(64), config: {} },
      config: {},
      author: "",
      comment: "",
      version: "1",
      repository: "",
      tag: "",
      fill: async () => ({ diffId: emptyLayer, size: 0 }),
    });
    return id;
  },
  "an import of a known layer": async ({ service }: Fixture) =>
    await service.importArchive(Readable.from(base.layers), {
      reference: undefined,
      message: "",
      changes: [],
      platform: "",
      report: () => {},
    }),
};

async function setUp(t: TestContext): Promise<Fixture> {
  const fixture = await imageFixture(t);
  const archive = dockerArchive([{ image: base, tags: ["base:1"] }]);
  await fixture.service.load(Readable.from([archive]), { quiet: true, report: () => {} });
  return fixture;
}

for (const [what, make] of Object.entries(ways)) {
  test(`${what} whose directory cannot be removed holds no layer`, async (t) => {
    const fixture = await setUp(t);
    const { service, storage, database } = fixture;
    storage.removalFailures.push(new Error("the disk failed"));
    await assert.rejects(make(fixture), /the disk failed/);
    const id = await make(fixture);
    for (const name of [id, "base:1"]) await service.remove(name, everything);
    assert.deepEqual(storage.list(), []);
    assert.deepEqual(database.all("SELECT * FROM image_layer"), []);
  });

  test(`${what} whose directory cannot be removed leaves what prune finds, and tells its own failure`, async (t) => {
    const fixture = await setUp(t);
    const { service, storage, database } = fixture;
    storage.removalFailures.push(new Error("the disk failed"), new Error("and again"));
    await assert.rejects(make(fixture), /the disk failed/);
    assert.equal(storage.list().length, 2);
    await service.prune({}, () => []);
    assert.equal(storage.list().length, 1);
    assert.equal(database.all("SELECT * FROM image_layer").length, 1);
  });
}

test("a stage that became a layer after its load had left is not followed by another", async (t) => {
  const { database, storage, unpacker } = await imageFixture(t);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const adopted: string[] = [];
  const adopt = async (_cacheId: string, key: string) => {
    adopted.push(key);
    reach();
    await gate;
  };
  const layers = new LayerStore({ database, storage: Object.assign(storage, { adopt }), unpacker });
  const diffId = digestOf(fileLayer("a"));
  const staged: StagedLayer = {
    name: "a",
    key: "first",
    digest: diffId,
    diffId,
    size: 1,
    describesRoot: true,
    implied: [],
  };
  await using stack = layers.hold([diffId]);
  const chainId = stack.top ?? "";
  const leaving = new AbortController();
  const left = assert.rejects(layers.adopt(chainId, staged, leaving.signal), /gone/);
  await reached;
  leaving.abort(new Error("gone"));
  await left;
  const other = layers.adopt(chainId, { ...staged, key: "second" }, undefined);
  open();
  assert.equal(await other, false);
  assert.deepEqual(adopted, ["first"]);
});
