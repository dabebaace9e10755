import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import { dockerArchive } from "./archive-build.ts";
import { digestOf } from "./digest.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { imageFixture } from "./testing/temporary.ts";

const old = testImage([fileLayer("a", "12345")], {
  created: "2020-01-01T00:00:00Z",
  config: { Labels: { stage: "old", team: "x" } },
});
const young = testImage([fileLayer("a", "12345"), fileLayer("b", "123")], {
  created: "2024-01-01T00:00:00Z",
  config: { Env: ["A=1"], Labels: { stage: "young" } },
  history: [
    { created: "2020-01-01T00:00:00Z", created_by: "ADD a" },
    { created: "2023-01-01T00:00:00Z", created_by: "ENV A=1", empty_layer: true },
    { created: "2024-01-01T00:00:00Z", created_by: "ADD b", comment: "last" },
  ],
});

async function setUp(t: TestContext) {
  const fixture = await imageFixture(t);
  const archive = dockerArchive([
    { image: old, tags: ["team/app:1", "team/app:old"] },
    { image: young, tags: [] },
  ]);
  await fixture.service.load(Readable.from([archive]), { quiet: true, report: () => {} });
  const ids = async (filters: Record<string, string[]>) =>
    (await fixture.service.list({ all: false, filters })).map((image) =>
      image.Id === old.id ? "old" : "young",
    );
  return { ...fixture, ids };
}

test("lists newest first, nameless ones with empty lists", async (t) => {
  const { service } = await setUp(t);
  const [first, second] = await service.list({ all: false, filters: {} });
  assert.deepEqual(first, {
    Id: young.id,
    ParentId: "",
    RepoTags: [],
    RepoDigests: [],
    Created: 1704067200,
    Size: 8,
    SharedSize: -1,
    Labels: { stage: "young" },
    Containers: -1,
  });
  assert.deepEqual(second?.RepoTags, ["team/app:1", "team/app:old"]);
});

test("filters", async (t) => {
  const { ids, service } = await setUp(t);
  assert.deepEqual(await ids({ dangling: ["true"] }), ["young"]);
  assert.deepEqual(await ids({ dangling: ["0"] }), ["old"]);
  assert.deepEqual(await ids({ label: ["stage"] }), ["young", "old"]);
  assert.deepEqual(await ids({ label: ["stage=old", "team"] }), ["old"]);
  assert.deepEqual(await ids({ "label!": ["team"] }), ["young"]);
  assert.deepEqual(await ids({ before: [young.id] }), ["old"]);
  assert.deepEqual(await ids({ since: ["team/app:1"] }), ["young"]);
  assert.deepEqual(await ids({ until: ["2022-01-01T00:00:00Z"] }), ["old"]);
  assert.deepEqual(await ids({ until: ["24h"] }), ["young", "old"]);
  assert.deepEqual(await ids({ reference: ["team/app"] }), ["old"]);
  assert.deepEqual(await ids({ reference: ["*/app"] }), ["old"]);
  assert.deepEqual(await ids({ reference: ["*"] }), []);
  const [matched] = await service.list({ all: false, filters: { reference: ["team/*:o*"] } });
  assert.deepEqual(matched?.RepoTags, ["team/app:old"]);
  await assert.rejects(ids({ nope: ["x"] }), { code: "invalid", message: "invalid filter 'nope'" });
  await assert.rejects(ids({ dangling: ["maybe"] }), { message: "invalid filter 'dangling=[maybe]'" });
  await assert.rejects(ids({ before: ["nope"] }), {
    code: "not-found",
    message: "No such image: nope:latest",
  });
});

test("history, with sizes of what made layers", async (t) => {
  const { service } = await setUp(t);
  service.tag(young.id, "team/new", "");
  assert.deepEqual(await service.history("team/new"), [
    {
      Id: young.id,
      Created: 1704067200,
      CreatedBy: "ADD b",
      Tags: ["team/new:latest"],
      Size: 3,
      Comment: "last",
    },
    { Id: "<missing>", Created: 1672531200, CreatedBy: "ENV A=1", Tags: null, Size: 0, Comment: "" },
    { Id: "<missing>", Created: 1577836800, CreatedBy: "ADD a", Tags: null, Size: 5, Comment: "" },
  ]);
});

test("inspect", async (t) => {
  const { service, storage } = await setUp(t);
  const shown = await service.inspect("team/app:old");
  assert.equal(shown.Id, old.id);
  assert.equal(shown.Size, 5);
  assert.deepEqual(shown.RootFS, { Type: "layers", Layers: old.layers.map(digestOf) });
  assert.deepEqual(shown.GraphDriver, {
    Name: "fake",
    Data: { UpperDir: storage.diffPath(service.resolve(old.id).topLayer ?? "") },
  });
  // It was loaded with its names; what counts is when a user gave it one.
  assert.equal(shown.Metadata.LastTagTime, "0001-01-01T00:00:00Z");
  service.tag(young.id, "team/new", "");
  assert.ok(Date.parse((await service.inspect(young.id)).Metadata.LastTagTime) > 0);
  assert.equal(service.layersSize(), 8);
});

test("who asks for another platform than the image's is told so", async (t) => {
  const { service } = await setUp(t);
  const { Architecture } = await service.inspect("team/app:old");
  const own = `linux/${Architecture}`;
  assert.equal((await service.inspect("team/app:old", own)).Id, old.id);
  assert.equal((await service.history("team/app:old", own)).length, 1);
  const refusal = {
    code: "not-found",
    message:
      "image with reference team/app:old was found but does not provide the specified platform (linux/riscv64)",
  };
  await assert.rejects(service.inspect("team/app:old", "linux/riscv64"), refusal);
  await assert.rejects(service.history("team/app:old", "linux/riscv64"), refusal);
  const options = { force: false, noPrune: false, inUse: () => [] };
  await assert.rejects(service.remove("team/app:old", { ...options, platform: "linux/riscv64" }), refusal);
  const removed = await service.remove("team/app:old", { ...options, platform: own });
  assert.deepEqual(removed[0], { Untagged: "team/app:old" });
});

test("tag: moves names, refuses what is no name", async (t) => {
  const { service } = await setUp(t);
  service.tag("team/app:1", "other", "2");
  assert.equal(service.resolve("other:2").id, old.id);
  service.tag(young.id, "other", "2");
  assert.equal(service.resolve("other:2").id, young.id);
  service.tag(young.id, "localhost:5000/x:7", "");
  assert.equal(service.resolve("localhost:5000/x:7").id, young.id);
  assert.throws(() => service.tag(young.id, "Other", "2"), { code: "invalid" });
  assert.throws(() => service.tag(young.id, "other", "-2"), {
    code: "invalid",
    message: "invalid tag format",
  });
  assert.throws(() => service.tag("nope", "other", "2"), { code: "not-found" });
  assert.throws(() => service.tag(young.id, `other@${old.id}`, ""), { code: "invalid" });
});

test("resolves names, ids and their beginnings", async (t) => {
  const { service } = await setUp(t);
  const hex = old.id.slice(7);
  for (const name of [
    "team/app:1",
    "docker.io/team/app:old",
    old.id,
    hex,
    hex.slice(0, 12),
    `sha256:${hex.slice(0, 20)}`,
  ]) {
    assert.equal(service.resolve(name).id, old.id, name);
  }
  assert.throws(() => service.resolve(`sha256:${"0".repeat(64)}`), { code: "not-found" });
  assert.throws(() => service.resolve("a b"), { code: "invalid", message: "invalid reference format" });
});
