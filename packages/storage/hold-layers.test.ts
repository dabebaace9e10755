import assert from "node:assert/strict";
import { test } from "node:test";
import type { StorageDriver } from "#storage/driver-types.ts";
import { HeldLayers, holdLayers } from "#storage/hold-layers.ts";

/** Says what is held; "bad" cannot be. */
function counting() {
  const held: string[] = [];
  const storage = {
    async hold(id: string, use: string) {
      if (id === "bad") throw new Error("no such layer");
      const what = `${use} ${id}`;
      held.push(what);
      return {
        async [Symbol.asyncDispose]() {
          held.splice(held.indexOf(what), 1);
        },
      };
    },
  } as unknown as StorageDriver;
  return { storage, held };
}

test("all layers are held until disposed, or none", async () => {
  const { storage, held } = counting();
  {
    await using _held = await holdLayers(storage, "content", "a", "b");
    assert.deepEqual(held, ["content a", "content b"]);
  }
  assert.deepEqual(held, []);
  await assert.rejects(holdLayers(storage, "root", "a", "bad"), /no such layer/);
  assert.deepEqual(held, []);
});

test("drivers whose layers are always there are not asked", async () => {
  const storage = {} as StorageDriver;
  await using _held = await holdLayers(storage, "root", "a");
  const layers = new HeldLayers(storage);
  await layers.hold("c", "root", "a");
  await layers.release("c");
});

test("an owner gives back what it holds, once", async () => {
  const { storage, held } = counting();
  const layers = new HeldLayers(storage);
  await layers.hold("one", "root", "a");
  await layers.hold("one", "content", "b");
  await layers.hold("two", "root", "c");
  await assert.rejects(layers.hold("one", "root", "bad"), /no such layer/);
  await layers.release("one");
  await layers.release("one");
  assert.deepEqual(held, ["root c"]);
});
