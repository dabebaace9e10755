import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { ProgressMessage } from "#api-types/image.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { digestOf, shortId } from "./digest.ts";
import type { ImageOptions } from "./image-types.ts";
import { FakeRegistry, refuse } from "./testing/fake-registry.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { collector, imageFixture } from "./testing/temporary.ts";

/** An image with layers "a" and "b", pulled from one registry; a second, empty one to push to. */
async function setUp(
  t: TestContext,
  options: { format?: "docker" | "oci"; daemon?: Partial<ImageOptions>; layers?: number } = {},
) {
  const fixture = await imageFixture(t, options.daemon);
  const origin = await FakeRegistry.start(t);
  const target = await FakeRegistry.start(t);
  const more = Array.from({ length: (options.layers ?? 2) - 2 }, (_, index) => fileLayer(`more${index}`));
  const built = testImage([fileLayer("a"), fileLayer("b", Buffer.alloc(2_000_000, "b")), ...more]);
  const published = origin.publish("team/thing", "latest", built, { ...options, linked: true });
  origin.linked.add(`team/thing ${published.config.digest}`);
  await fixture.service.pull({
    name: `${origin.host}/team/thing`,
    tag: "",
    platform: "",
    report: () => {},
  });
  const push = async (name: string, tag = "latest", signal?: AbortSignal, heard = collector()) => {
    const { report, messages } = heard;
    await fixture.service.push({ name, tag, platform: "", report, ...(signal ? { signal } : {}) });
    return messages;
  };
  const tag = (host: string, path: string, tag = "latest") =>
    fixture.service.tag(`${origin.host}/team/thing`, `${host}/${path}`, tag);
  return { fixture, origin, target, built, published, push, tag };
}

test("an image goes to another registry: layers are compressed, the messages are Docker's", async (t) => {
  const { fixture, target, built, push, tag } = await setUp(t);
  tag(target.host, "new/name", "v1");
  const messages = await push(`${target.host}/new/name`, "v1");
  const pushed = target.manifests.get("new/name:v1");
  assert.equal(pushed?.type, "application/vnd.docker.distribution.manifest.v2+json");
  const digest = digestOf(pushed.bytes);
  const document = JSON.parse(pushed.bytes.toString("utf8"));
  assert.deepEqual(document.config, {
    mediaType: "application/vnd.docker.container.image.v1+json",
    size: built.config.length,
    digest: built.id,
  });
  assert.deepEqual(
    document.layers.map((layer: { digest: string }) => gunzipSync(target.blobs.get(layer.digest) ?? "")),
    built.layers,
  );
  assert.equal(document.layers[0].size, target.blobs.get(document.layers[0].digest)?.length);
  assert.equal(pushed.bytes.toString("utf8"), JSON.stringify(document, null, 3));
  const [top, lowest] = built.layers.map((layer) => shortId(digestOf(layer))).reverse();
  assert.deepEqual(messages.slice(0, 3), [
    { status: `The push refers to repository [${target.host}/new/name]` },
    { status: "Preparing", progressDetail: {}, id: top },
    { status: "Preparing", progressDetail: {}, id: lowest },
  ]);
  for (const id of [top, lowest]) {
    assert.ok(messages.some((message) => message.status === "Pushing" && message.id === id));
    assert.ok(messages.some((message) => message.status === "Pushed" && message.id === id));
  }
  const size = pushed.bytes.length;
  assert.deepEqual(messages.slice(-2), [
    { status: `v1: digest: ${digest} size: ${size}` },
    { progressDetail: {}, aux: { Tag: "v1", Digest: digest, Size: size } },
  ]);
  assert.ok(
    (await fixture.service.inspect(built.id)).RepoDigests.includes(`${target.host}/new/name@${digest}`),
  );
  assert.ok(fixture.events.includes(`push ${target.host}/new/name:v1`));
});

for (const format of ["docker", "oci"] as const) {
  test(`pushed where it came from, an image of ${format}'s kind keeps its manifest, and no layer is sent`, async (t) => {
    const { origin, published, push, tag } = await setUp(t, { format });
    const original = origin.manifests.get("team/thing:latest");
    origin.requests.length = 0;
    tag(origin.host, "team/thing", "again");
    const messages = await push(`${origin.host}/team/thing`, "again");
    assert.deepEqual(origin.manifests.get("team/thing:again"), original);
    assert.equal(messages.filter(({ status }) => status === "Layer already exists").length, 2);
    tag(origin.host, "other/place");
    const mounted = await push(`${origin.host}/other/place`);
    assert.equal(mounted.filter(({ status }) => status === "Mounted from team/thing").length, 2);
    assert.equal(
      origin.manifests.get("other/place:latest")?.bytes,
      origin.manifests.get(`other/place@${published.manifest.digest}`)?.bytes,
    );
    assert.deepEqual(origin.manifests.get("other/place:latest"), original);
    assert.deepEqual(
      origin.requests.filter((line) => line.startsWith("PATCH")),
      [],
    );
  });
}

test("an OCI image stays one where its layers have to be sent", async (t) => {
  const { target, push, tag } = await setUp(t, { format: "oci" });
  tag(target.host, "new/name");
  await push(`${target.host}/new/name`);
  const pushed = target.manifests.get("new/name:latest");
  assert.equal(pushed?.type, "application/vnd.oci.image.manifest.v1+json");
  const document = JSON.parse(pushed.bytes.toString("utf8"));
  assert.equal(document.layers[0].mediaType, "application/vnd.oci.image.layer.v1.tar+gzip");
});

test("a layer that vanished from the registry is sent again", async (t) => {
  const { origin, published, push, tag } = await setUp(t);
  for (const { digest } of published.layers) origin.blobs.delete(digest);
  tag(origin.host, "team/thing", "again");
  const messages = await push(`${origin.host}/team/thing`, "again");
  assert.equal(messages.filter(({ status }) => status === "Pushed").length, 2);
});

test("every tag of a repository, where none is named", async (t) => {
  const { fixture, target, push, tag } = await setUp(t);
  for (const name of ["one", "two", "three"]) tag(target.host, "many", name);
  const messages = await push(`${target.host}/many`, "");
  const told = messages.flatMap(({ aux }) => (aux as { Tag: string } | undefined)?.Tag ?? []);
  assert.deepEqual(told, ["one", "three", "two"]);
  const again = await imageFixture(t);
  const { report, messages: pulled } = collector();
  await again.service.pull({ name: `${target.host}/many`, tag: "", allTags: true, platform: "", report });
  const tags = (await again.service.list({ all: false, filters: {} })).flatMap(({ RepoTags }) => RepoTags);
  assert.deepEqual(
    tags.sort(),
    ["one", "three", "two"].map((name) => `${target.host}/many:${name}`),
  );
  assert.equal(pulled.filter(({ status }) => status?.startsWith("Status:")).length, 1);
  assert.equal(pulled.at(-1)?.status, `Status: Downloaded newer image for ${target.host}/many`);
  assert.equal(fixture.service.count(), 1);
});

test("names that cannot be pushed, with Docker's words", async (t) => {
  const { target, push, tag } = await setUp(t);
  const name = `${target.host}/new/name`;
  await assert.rejects(push(name), { message: `An image does not exist locally with the tag: ${name}` });
  tag(target.host, "new/name", "v1");
  await assert.rejects(push(name, "v2"), { message: `tag does not exist: ${name}:v2` });
  await assert.rejects(push(`${name}@${digestOf("x")}`, ""), { message: "cannot push a digest reference" });
});

test("a registry that cuts uploads or is busy gets the layer in another attempt", async (t) => {
  const { target, built, push, tag } = await setUp(t);
  tag(target.host, "new/name");
  let failures = 0;
  target.fault = (request, response) => {
    if (request.method !== "PATCH" || failures >= 3) return false;
    failures++;
    if (failures === 1) request.socket.destroy();
    else response.writeHead(failures === 2 ? 503 : 429, { "retry-after": "0" }).end();
    return true;
  };
  const messages = await push(`${target.host}/new/name`);
  assert.equal(failures, 3);
  assert.ok(messages.some(({ status }) => status?.startsWith("Retrying in")));
  const document = JSON.parse(target.manifests.get("new/name:latest")?.bytes.toString("utf8") ?? "");
  assert.deepEqual(gunzipSync(target.blobs.get(document.layers[1].digest) ?? ""), built.layers[1]);
});

test("refusals in the registry's words; no tag is left", async (t) => {
  const { target, push, tag } = await setUp(t);
  tag(target.host, "new/name");
  target.fault = (request, response) => {
    if (request.method !== "POST") return false;
    refuse(response, 403, "DENIED", "requested access to the resource is denied");
    return true;
  };
  await assert.rejects(push(`${target.host}/new/name`), {
    message: "denied: requested access to the resource is denied",
  });
  target.fault = (request, response) => {
    if (request.method !== "PATCH") return false;
    response.writeHead(500).end("<html>oops</html>");
    return true;
  };
  await assert.rejects(push(`${target.host}/new/name`), { message: /received unexpected HTTP status: 500/ });
  target.fault = (request, response) => {
    if (request.method !== "PUT" || !request.url?.includes("digest=")) return false;
    refuse(response, 400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    return true;
  };
  await assert.rejects(push(`${target.host}/new/name`), { message: /^digest invalid: provided digest/ });
  assert.equal(target.manifests.size, 0);
});

test("two clients push the same layer: one upload, which goes on for the one that stays", async (t) => {
  const { target, push, tag } = await setUp(t);
  tag(target.host, "new/name", "one");
  tag(target.host, "new/name", "two");
  const { promise: open, resolve: release } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  let patches = 0;
  target.fault = (request, response) => {
    if (request.method !== "PATCH" || request.headers["x-held"] !== undefined) return false;
    patches++;
    begin();
    request.headers["x-held"] = "1";
    void open.then(() => target.serve(request, response));
    return true;
  };
  const leaving = new AbortController();
  const first = push(`${target.host}/new/name`, "one", leaving.signal);
  await begun;
  const { promise: joined, resolve: join } = Promise.withResolvers<void>();
  const messages: ProgressMessage[] = [];
  const report = (message: ProgressMessage) => {
    messages.push(message);
    if (messages.filter(({ status }) => status === "Pushing").length === 2) join();
  };
  const second = push(`${target.host}/new/name`, "two", undefined, { report, messages });
  await joined;
  leaving.abort(new Error("gone"));
  await assert.rejects(first, /gone/);
  release();
  await second;
  assert.equal(patches, 2);
  assert.deepEqual([...target.manifests.keys()].filter((key) => key.includes(":two")).length, 1);
  assert.ok(!target.manifests.has("new/name:one"));
});

test("a layer whose files have changed is not sent on", async (t) => {
  const { fixture, target, built, push, tag } = await setUp(t);
  tag(target.host, "new/name");
  const [lowest] = [...fixture.storage.parents].find(([, parent]) => parent === undefined) ?? [""];
  writeFileSync(fixture.storage.archivePath(lowest), fileLayer("other"));
  await assert.rejects(push(`${target.host}/new/name`), {
    message: new RegExp(`^layer ${digestOf(built.layers[0] ?? "")} cannot be read`),
  });
  assert.equal(target.manifests.size, 0);
});

test("as many layers at once as the daemon's configuration says", async (t) => {
  const { target, push, tag } = await setUp(t, { layers: 6, daemon: { maxConcurrentUploads: 2 } });
  tag(target.host, "new/name");
  let open = 0;
  let most = 0;
  target.fault = (request, response) => {
    if (request.method !== "PATCH") return false;
    most = Math.max(most, ++open);
    response.on("finish", () => open--);
    // Not before another has come, and then long enough for more to come, if they may.
    void eventually(() => assert.ok(most >= 2)).then(() =>
      setTimeout(() => target.serve(request, response), 50),
    );
    return true;
  };
  const messages = await push(`${target.host}/new/name`);
  assert.equal(most, 2);
  assert.equal(messages.filter(({ status }) => status === "Pushed").length, 6);
  assert.ok(messages.some(({ status }) => status === "Waiting"));
});

test("rights that run out while a layer is sent are asked for anew", async (t) => {
  const { fixture, target, tag } = await setUp(t);
  tag(target.host, "new/name");
  let valid = 1;
  target.fault = (request, response) => {
    if (request.url?.startsWith("/token")) {
      response.end(JSON.stringify({ token: `good${valid}` }));
      return true;
    }
    // The token that an upload was begun with has run out when its bytes come.
    if (request.method === "PATCH" && valid === 1) valid = 2;
    if (request.headers.authorization === `Bearer good${valid}`) return false;
    response.setHeader("www-authenticate", `Bearer realm="http://${target.host}/token",service="x"`);
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
  const auth = { username: "me", password: "secret" };
  const name = `${target.host}/new/name`;
  await fixture.service.push({ name, tag: "latest", platform: "", auth, report: () => {} });
  assert.ok(target.manifests.has("new/name:latest"));
  assert.equal(valid, 2);
});

test("a registry that takes no more bytes is given up, one that thinks for a while is not", async (t) => {
  const { target, push, tag } = await setUp(t, { daemon: { patience: 500 } });
  tag(target.host, "new/name");
  target.fault = (request, response) => {
    if (request.method !== "PATCH") return false;
    setTimeout(() => target.serve(request, response), 1000);
    return true;
  };
  await push(`${target.host}/new/name`);
  tag(target.host, "more/names");
  target.blobs.clear();
  target.fault = (request) => request.method === "PATCH";
  await assert.rejects(push(`${target.host}/more/names`), {
    code: "internal",
    message: /^Patch "http:[^?]*": net\/http: timeout awaiting response headers$/,
  });
});
