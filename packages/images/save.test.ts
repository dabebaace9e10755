import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { dockerArchive } from "./archive-build.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { imageFixture } from "./testing/temporary.ts";

test("at a save's end a layer that cannot be removed keeps no other", async (t) => {
  const { service, storage } = await imageFixture(t);
  const archive = dockerArchive([
    { image: testImage([fileLayer("a")]), tags: ["x:1"] },
    { image: testImage([fileLayer("b")]), tags: ["y:1"] },
  ]);
  await service.load(Readable.from([archive]), { quiet: true, report: () => {} });
  // Its end is a failure here: fake layers have no layouts.
  const end = assert.rejects(service.save({ names: ["x:1", "y:1"], platform: "" }));
  for (const name of ["x:1", "y:1"]) {
    await service.remove(name, { force: false, noPrune: false, inUse: () => [] });
  }
  assert.equal(storage.list().length, 2);
  storage.removalFailures.push(new Error("the disk failed"));
  await end;
  assert.equal(storage.removalFailures.length, 0);
  await service.prune({}, () => []);
  assert.deepEqual(storage.list(), []);
});
