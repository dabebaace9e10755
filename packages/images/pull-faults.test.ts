import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FakeRegistry } from "./testing/fake-registry.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { assertNothingLeft, collector, imageFixture } from "./testing/temporary.ts";

const layer = fileLayer;
const image = (...layers: Buffer[]) => testImage(layers);

async function setUp(t: TestContext) {
  return { fixture: await imageFixture(t), registry: await FakeRegistry.start(t) };
}

test("unknown names, with Docker's words", async (t) => {
  const { fixture, registry } = await setUp(t);
  registry.publish("thing", "latest", image(layer("a")));
  const pull = (name: string, tag: string) =>
    fixture.service.pull({ name: `${registry.host}/${name}`, tag, platform: "", report: () => {} });
  await assert.rejects(pull("thing", "nope"), {
    code: "not-found",
    message: `manifest for ${registry.host}/thing:nope not found: manifest unknown: manifest unknown`,
  });
  await assert.rejects(pull("nope", ""), {
    code: "not-found",
    message: `repository ${registry.host}/nope not found: name unknown: repository name not known to registry`,
  });
  await assert.rejects(pull("Nope", ""), { code: "invalid", message: /must be lowercase/ });
});

test("a registry nobody runs", async (t) => {
  const fixture = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  const { host } = registry;
  await registry.stop();
  await assert.rejects(
    fixture.service.pull({ name: `${host}/thing`, tag: "", platform: "", report: () => {} }),
    {
      code: "internal",
      message: `Get "http://${host}/v2/": dial tcp ${host}: connect: connection refused`,
    },
  );
});

test("a cut connection is resumed where it broke", async (t) => {
  const { fixture, registry } = await setUp(t);
  const content = Buffer.alloc(3 << 20, "x");
  const { layers } = registry.publish("thing", "latest", image(layer("big", content)), {
    format: "oci",
    compression: "none",
  });
  const blob = layers[0]?.digest ?? "";
  const ranges: (string | undefined)[] = [];
  registry.fault = (request, response) => {
    if (!request.url?.endsWith(blob)) return false;
    ranges.push(request.headers.range);
    if (ranges.length > 1) return false;
    response.writeHead(200, { "content-length": registry.blobs.get(blob)?.length });
    response.write(registry.blobs.get(blob)?.subarray(0, 1 << 20), () => response.destroy());
    return true;
  };
  await fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} });
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? "", /^bytes=[1-9]\d*-$/);
  assert.equal(fixture.service.count(), 1);
});

test("a registry that always stops half way: a clear error, resumable only where it is worth it", async (t) => {
  const { fixture, registry } = await setUp(t);
  const stopAfter = (bytes: number) => {
    registry.fault = (request, response) => {
      const blob = registry.blobs.get(request.url?.split("/").at(-1) ?? "");
      if (blob === undefined || blob.length < 1000) return false;
      response.writeHead(200, { "content-length": blob.length });
      response.write(blob.subarray(0, bytes), () => response.destroy());
      return true;
    };
  };
  const options = { format: "oci", compression: "none" } as const;
  registry.publish("small", "latest", image(layer("small", Buffer.alloc(5000))), options);
  stopAfter(1000);
  const pull = (name: string) =>
    fixture.service.pull({ name: `${registry.host}/${name}`, tag: "", platform: "", report: () => {} });
  await assert.rejects(pull("small"), { code: "internal", message: /unexpected EOF/ });
  assertNothingLeft(fixture);
  registry.publish("large", "latest", image(layer("large", Buffer.alloc(3 << 20))), options);
  stopAfter(2 << 20);
  await assert.rejects(pull("large"), { code: "internal", message: /unexpected EOF/ });
  assert.equal(readdirSync(join(fixture.root, "image", "partial")).length, 1);
  assert.deepEqual(fixture.storage.list(), []);
  registry.fault = () => false;
  await pull("large");
  assert.deepEqual(readdirSync(join(fixture.root, "image", "partial")), []);
});

test("a damaged layer is refused and nothing stays", async (t) => {
  const { fixture, registry } = await setUp(t);
  const { layers } = registry.publish("thing", "latest", image(layer("good"), layer("bad")));
  const digest = layers[1]?.digest ?? "";
  const damaged = Buffer.from(registry.blobs.get(digest) ?? "");
  damaged[20] = (damaged[20] ?? 0) ^ 1;
  registry.blobs.set(digest, damaged);
  await assert.rejects(
    fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} }),
    { code: "internal", message: new RegExp(`^filesystem layer verification failed for digest ${digest}`) },
  );
  assertNothingLeft(fixture);
});

test("a layer with another content than its image says", async (t) => {
  const { fixture, registry } = await setUp(t);
  const lying = image(layer("a"));
  lying.layers[0] = layer("b");
  registry.publish("thing", "latest", lying);
  await assert.rejects(
    fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} }),
    { code: "invalid", message: /^failed to register layer: layer has diff id/ },
  );
  assertNothingLeft(fixture);
});

test("manifests that are none", async (t) => {
  const { fixture, registry } = await setUp(t);
  const type = "application/vnd.oci.image.manifest.v1+json";
  const pull = (tag: string) =>
    fixture.service.pull({ name: `${registry.host}/thing`, tag, platform: "", report: () => {} });
  registry.putManifest("thing", "text", type, "<html>");
  await assert.rejects(pull("text"), { code: "invalid", message: /invalid manifest of .*: not JSON/ });
  registry.putManifest("thing", "list", type, "[]");
  await assert.rejects(pull("list"), { code: "invalid", message: /not an object/ });
  registry.putManifest("thing", "old", type, { schemaVersion: 1 });
  await assert.rejects(pull("old"), { code: "invalid", message: /schema 1/ });
  registry.putManifest("thing", "escape", type, {
    schemaVersion: 2,
    config: { digest: "sha256:../../../etc/passwd", size: 1 },
    layers: [],
  });
  await assert.rejects(pull("escape"), { code: "invalid", message: /valid digest/ });
  registry.putManifest("thing", "huge", type, `{"x":"${"y".repeat(5 << 20)}"}`);
  await assert.rejects(pull("huge"), { message: /larger than/ });
  registry.fault = (request, response) => {
    if (!request.url?.includes("manifests")) return false;
    response
      .writeHead(200, { "content-type": type, "docker-content-digest": `sha256:${"0".repeat(64)}` })
      .end("{}");
    return true;
  };
  await assert.rejects(pull("other"), { message: /manifest verification failed for digest sha256:0000/ });
  assertNothingLeft(fixture);
});

test("a registry that is busy is asked again", async (t) => {
  const { fixture, registry } = await setUp(t);
  registry.publish("thing", "latest", image(layer("a")));
  const seen = new Map<string, number>();
  registry.fault = (request, response) => {
    const url = request.url ?? "";
    const count = (seen.get(url) ?? 0) + 1;
    seen.set(url, count);
    if (url === "/v2/" || count > 2) return false;
    response.writeHead(count === 1 ? 503 : 429).end();
    return true;
  };
  await fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} });
  assert.equal(fixture.service.count(), 1);
});

test("what a crash left half made is undone at the next start", async (t) => {
  const { fixture, registry } = await setUp(t);
  const built = image(layer("a"));
  registry.publish("thing", "latest", built);
  await fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} });
  const complete = fixture.storage.list();
  const half = "f".repeat(64);
  await fixture.storage.create(half, undefined);
  fixture.database.run(
    "INSERT INTO image_layer (cache_id, chain_id, state) VALUES (?, 'sha256:half', 'making')",
    half,
  );
  await fixture.storage.create("e".repeat(64), half);
  fixture.database.run(
    "INSERT INTO image_layer (cache_id, chain_id, parent, state) VALUES (?, 'sha256:above', 'sha256:half', 'making')",
    "e".repeat(64),
  );
  const next = await fixture.restart();
  assert.deepEqual(fixture.storage.list(), complete);
  assert.equal(next.resolve(built.id).id, built.id);
  assert.equal(next.cacheIds().size, 1);
  assert.ok(existsSync(fixture.storage.diffPath(complete[0] ?? "")));
});

test("a layer whose directory was removed comes back with the next pull", async (t) => {
  const { fixture, registry } = await setUp(t);
  const built = image(layer("a"), layer("b"));
  registry.publish("thing", "latest", built);
  const request = { name: `${registry.host}/thing`, tag: "", platform: "" };
  await fixture.service.pull({ ...request, report: () => {} });
  const [top, lowest] = await fixture.storage.layerDirectories(
    fixture.service.resolve(built.id).topLayer ?? "",
  );
  await fixture.storage.remove(lowest?.split("/").at(-2) ?? "");
  const next = await fixture.restart();
  const { report, messages } = collector();
  await next.pull({ ...request, report });
  assert.equal(await readFile(join(lowest ?? "", "a"), "utf8"), "a");
  assert.equal(await readFile(join(top ?? "", "b"), "utf8"), "b");
  assert.equal(fixture.unpacker.unpacked, 3);
  assert.match(messages.at(-1)?.status ?? "", /^Status: Downloaded newer image/);
});
