import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeRegistry } from "../testing/fake-registry.ts";
import { fileLayer, testImage } from "../testing/images.ts";
import { imageFixture } from "../testing/temporary.ts";

const found = [
  { name: "team/web", description: "A server", star_count: 7, is_official: false, is_automated: true },
  { name: "web", description: "The server", star_count: 90, is_official: true, is_automated: false },
];

test("search: asked as Docker asks, filtered here", async (t) => {
  const { service } = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  registry.fault = (request, response) => {
    if (!request.url?.startsWith("/v1/search")) return false;
    response.end(JSON.stringify({ num_results: 2, results: [...found, null, { name: 3 }] }));
    return true;
  };
  const search = (filters: Record<string, string[]> = {}, limit = 0, term = `${registry.host}/web`) =>
    service.registries.search({ term, limit, filters, auth: undefined });
  const sorted = (list: object[]) => list.map((one) => Object.entries(one).sort());
  assert.deepEqual(sorted(await search()), sorted(found));
  assert.deepEqual(registry.requests.at(-1), "GET /v1/search?q=web&n=25");
  const names = async (filters: Record<string, string[]>) => (await search(filters)).map(({ name }) => name);
  assert.deepEqual(await names({ "is-official": ["true"] }), ["web"]);
  assert.deepEqual(await names({ "is-automated": ["1"] }), ["team/web"]);
  assert.deepEqual(await names({ stars: ["8"] }), ["web"]);
  await search({}, 3);
  assert.deepEqual(registry.requests.at(-1), "GET /v1/search?q=web&n=3");
  await assert.rejects(search({}, 101), {
    code: "invalid",
    message: "limit 101 is outside the range of [1, 100]",
  });
  await assert.rejects(search({ bogus: ["1"] }), { code: "invalid", message: "invalid filter 'bogus'" });
  await assert.rejects(search({ stars: ["x"] }), { code: "invalid", message: "invalid filter 'stars=x'" });
  registry.fault = (_, response) => Boolean(response.end("<html>"));
  await assert.rejects(search(), { message: /gave no list of images$/ });
  registry.fault = () => false;
  await assert.rejects(search(), {
    code: "internal",
    message: "Unexpected status code 404",
    hint: /has no search$/,
  });
});

test("what a name stands for, without fetching it", async (t) => {
  const { service } = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  const { manifest } = registry.publish("thing", "one", testImage([fileLayer("a")]));
  const index = registry.putManifest("thing", "many", "application/vnd.oci.image.index.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      { ...manifest, platform: { os: "linux", architecture: "arm", variant: "v7" } },
      { ...manifest, platform: { os: "linux", architecture: "amd64" } },
    ],
  });
  const look = (name: string) => service.registries.distribution(`${registry.host}/${name}`, undefined);
  const one = await look("thing:one");
  assert.deepEqual(one.Descriptor, manifest);
  assert.equal(one.Platforms.length, 1);
  assert.deepEqual(await look("thing:many"), {
    Descriptor: index,
    Platforms: [
      { architecture: "arm", os: "linux", variant: "v7" },
      { architecture: "amd64", os: "linux" },
    ],
  });
  assert.deepEqual((await look(`thing@${index.digest}`)).Descriptor, index);
  await assert.rejects(look("thing:none"), {
    code: "not-found",
    message: "manifest unknown: manifest unknown",
  });
});
