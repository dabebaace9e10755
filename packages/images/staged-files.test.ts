import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { BerthError } from "#errors/errors.ts";
import type { StageOptions } from "#storage/driver-types.ts";
import type { StagedArchive, StageRequest } from "#storage/staging/staging-types.ts";
import { digestOf } from "./digest.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { imageFixture } from "./testing/temporary.ts";

const nothing: StagedArchive = { files: [], layers: [], links: [], broken: [] };

/** A service that stages archives, each in three stages, and finds in them what `read` says. */
async function setUp(t: TestContext, read: () => StagedArchive, unstage: (key: string) => Promise<void>) {
  const { storage, unpacker, service } = await imageFixture(t);
  let made = 0;
  const stage = async () => ({ key: `stage${++made}`, target: "", layout: "" });
  Object.assign(storage, { stage, adopt: async () => {}, unstage });
  const source = { path: "", pipe: "" };
  Object.assign(unpacker, {
    stage: async (request: StageRequest, options: StageOptions) => {
      source.path = `/proc/self/fd/${request.source}`;
      source.pipe = readlinkSync(source.path);
      for (let count = 0; count < 3; count++) await options.stage();
      return read();
    },
  });
  const load = () => service.load(Readable.from([Buffer.alloc(1024)]), { quiet: true, report: () => {} });
  return { service, load, source };
}

const invalid: [string, () => StagedArchive, RegExp][] = [
  ["lacks what it needs", () => nothing, /does not contain a manifest.json/],
  [
    "cannot be read",
    () => {
      throw new BerthError("invalid", "invalid archive: cut short", { operation: "load image" });
    },
    /cut short/,
  ],
];
for (const [what, read, message] of invalid) {
  test(`of an archive that ${what} all stages go, whatever becomes of one, and its own failure is told`, async (t) => {
    const unstaged: string[] = [];
    const { load } = await setUp(t, read, async (key) => {
      unstaged.push(key);
      if (unstaged.length === 1) throw new Error("the disk failed");
    });
    await assert.rejects(load(), { code: "invalid", message });
    assert.deepEqual(unstaged, ["stage1", "stage2", "stage3"]);
  });
}

test("a stage that cannot be removed is no failure of a load", async (t) => {
  const layer = fileLayer("a");
  const built = testImage([layer]);
  const file = (name: string, content: string | Buffer) => ({ name, content: Buffer.from(content) });
  const manifest = JSON.stringify([{ Config: "c", RepoTags: ["x:1"], Layers: ["l"] }]);
  const [digest, diffId] = [digestOf(layer), digestOf(layer)];
  const staged: StagedArchive = {
    ...nothing,
    files: [file("manifest.json", manifest), file("c", built.config)],
    layers: [{ name: "l", key: "stage1", digest, diffId, size: 1, describesRoot: true, implied: [] }],
  };
  const { service, load } = await setUp(
    t,
    () => staged,
    async () => {
      throw new Error("the disk failed");
    },
  );
  await load();
  assert.equal(service.resolve("x:1").id, built.id);
});

test("the pipe of an archive that no worker got to read is closed", async (t) => {
  const { load, source } = await setUp(
    t,
    () => {
      throw new BerthError("unavailable", "no thread", { operation: "stage" });
    },
    async () => {},
  );
  await assert.rejects(load(), /no thread/);
  let left = "";
  try {
    left = readlinkSync(source.path);
  } catch {
    // Nothing else has got its number.
  }
  assert.notEqual(left, source.pipe);
});
