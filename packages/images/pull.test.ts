import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { buildImage } from "./archive-build.ts";
import { shortId } from "./digest.ts";
import { exchange } from "./registry/http-exchange.ts";
import { noProxy } from "./registry/proxy.ts";
import { closeConnections, makeTransport } from "./registry/transport.ts";
import { FakeRegistry } from "./testing/fake-registry.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { assertNothingLeft, collector, imageFixture } from "./testing/temporary.ts";

const layer = fileLayer;
const image = (...layers: Buffer[]) => testImage(layers);

async function setUp(t: TestContext) {
  return { fixture: await imageFixture(t), registry: await FakeRegistry.start(t) };
}

for (const options of [
  { format: "docker", compression: "gzip" },
  { format: "oci", compression: "gzip" },
  { format: "oci", compression: "zstd" },
  { format: "oci", compression: "none" },
] as const) {
  test(`pulls an image: ${options.format}, ${options.compression}`, async (t) => {
    const { fixture, registry } = await setUp(t);
    const built = image(layer("a"), layer("b"));
    const published = registry.publish("lib/thing", "1", built, options);
    const { report, messages } = collector();
    await fixture.service.pull({ name: `${registry.host}/lib/thing`, tag: "1", platform: "", report });
    const pulled = fixture.service.resolve(`${registry.host}/lib/thing:1`);
    assert.equal(pulled.id, built.id);
    assert.equal(pulled.size, 2);
    const directories = await fixture.storage.layerDirectories(pulled.topLayer ?? "");
    assert.equal(await readFile(join(directories[0] ?? "", "b"), "utf8"), "b");
    assert.equal(await readFile(join(directories[1] ?? "", "a"), "utf8"), "a");
    assert.deepEqual(messages[0], { status: "Pulling from lib/thing", id: "1" });
    const first = published.layers[0]?.digest ?? "";
    const lines = messages.filter(({ id }) => id === shortId(first)).map(({ status }) => status);
    assert.deepEqual(
      [...new Set(lines)],
      [
        "Pulling fs layer",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
      ],
    );
    assert.deepEqual(messages.slice(-2), [
      { status: `Digest: ${published.manifest.digest}` },
      { status: `Status: Downloaded newer image for ${registry.host}/lib/thing:1` },
    ]);
    assert.deepEqual(readdirSync(join(fixture.root, "image", "blobs", "sha256")), []);
    assert.deepEqual(fixture.events, [`pull ${registry.host}/lib/thing:1`]);
  });
}

test("a second pull says that the image is up to date and asks for no blob", async (t) => {
  const { fixture, registry } = await setUp(t);
  registry.publish("thing", "latest", image(layer("a")));
  const request = { name: `${registry.host}/thing`, tag: "", platform: "" };
  await fixture.service.pull({ ...request, report: () => {} });
  registry.requests.length = 0;
  const { report, messages } = collector();
  await fixture.service.pull({ ...request, report });
  assert.equal(messages.at(-1)?.status, `Status: Image is up to date for ${registry.host}/thing:latest`);
  assert.deepEqual(
    registry.requests.filter((line) => line.includes("blobs")),
    [],
  );
});

test("a layer shared with another image is not fetched again", async (t) => {
  const { fixture, registry } = await setUp(t);
  const one = registry.publish("one", "latest", image(layer("base"), layer("x")));
  const two = registry.publish("two", "latest", image(layer("base"), layer("y")));
  await fixture.service.pull({ name: `${registry.host}/one`, tag: "", platform: "", report: () => {} });
  const { report, messages } = collector();
  await fixture.service.pull({ name: `${registry.host}/two`, tag: "", platform: "", report });
  assert.equal(one.layers[0]?.digest, two.layers[0]?.digest);
  assert.equal(fixture.storage.list().length, 3);
  assert.ok(
    messages.some(
      ({ id, status }) => id === shortId(two.layers[0]?.digest ?? "") && status === "Already exists",
    ),
  );
  assert.equal(fixture.unpacker.unpacked, 3);
});

test("two pulls at the same time share download and unpacking; one of them leaving does not harm the other", async (t) => {
  const { fixture, registry } = await setUp(t);
  const built = image(layer("a"), layer("b"));
  registry.publish("thing", "latest", built);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  fixture.unpacker.before = () => {
    reach();
    return gate;
  };
  const leaving = new AbortController();
  const request = { name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} };
  const first = fixture.service.pull({ ...request, signal: leaving.signal });
  const firstEnd = assert.rejects(first, /gone/);
  await reached;
  const second = fixture.service.pull(request);
  // The second has joined once it has asked for the configuration and the event loop has turned.
  while (registry.requests.filter((line) => line.includes("manifests")).length < 2) await turn();
  for (let count = 0; count < 50; count++) await turn();
  leaving.abort(new Error("gone"));
  await firstEnd;
  open();
  await second;
  assert.equal(fixture.service.resolve(built.id).id, built.id);
  assert.equal(fixture.unpacker.unpacked, 2);
  assert.equal(new Set(registry.requests.filter((line) => line.includes("blobs"))).size, 3);
});

test("layers that were finished after their only pull had left are not made again", async (t) => {
  const { fixture, registry } = await setUp(t);
  const built = image(layer("a"), layer("b"));
  registry.publish("thing", "latest", built);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const { promise: joined, resolve: join } = Promise.withResolvers<void>();
  const unpack = fixture.unpacker.unpack.bind(fixture.unpacker);
  let unpacks = 0;
  // As a worker that has looked for the last time whether it is to stop.
  fixture.unpacker.unpack = async ({ signal: _signal, ...request }) => {
    if (++unpacks === built.layers.length) reach();
    await gate;
    return await unpack(request);
  };
  const leaving = new AbortController();
  const request = { name: `${registry.host}/thing`, tag: "", platform: "" };
  const first = fixture.service.pull({ ...request, report: () => {}, signal: leaving.signal });
  const firstEnd = assert.rejects(first, /gone/);
  await reached;
  leaving.abort(new Error("gone"));
  const second = fixture.service.pull({
    ...request,
    report: ({ status }) => {
      if (status === "Pulling fs layer") join();
    },
  });
  await joined;
  await turn();
  open();
  await Promise.all([firstEnd, second]);
  assert.equal(fixture.service.resolve(built.id).id, built.id);
  assert.equal(unpacks, built.layers.length);
});

test("a pull that everybody left leaves nothing", async (t) => {
  const { fixture, registry } = await setUp(t);
  registry.publish("thing", "latest", image(layer("a"), layer("b")));
  const leaving = new AbortController();
  fixture.unpacker.before = async () => leaving.abort(new Error("gone"));
  await assert.rejects(
    fixture.service.pull({
      name: `${registry.host}/thing`,
      tag: "",
      platform: "",
      report: () => {},
      signal: leaving.signal,
    }),
    /gone/,
  );
  assertNothingLeft(fixture);
});

test("takes the manifest of the wanted platform from a list", async (t) => {
  const { fixture, registry } = await setUp(t);
  const host = image(layer("host"));
  const other = buildImage([layer("other")], { architecture: "s390x", os: "linux" });
  const list = "application/vnd.docker.distribution.manifest.list.v2+json";
  registry.putManifest("multi", "latest", list, {
    schemaVersion: 2,
    mediaType: list,
    manifests: [
      {
        ...registry.publish("multi", "other", other).manifest,
        platform: { os: "linux", architecture: "s390x" },
      },
      {
        ...registry.publish("multi", "host", host).manifest,
        platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch },
      },
    ],
  });
  const name = `${registry.host}/multi`;
  await fixture.service.pull({ name, tag: "latest", platform: "", report: () => {} });
  assert.equal(fixture.service.resolve(name).id, host.id);
  await fixture.service.pull({ name, tag: "latest", platform: "linux/s390x", report: () => {} });
  assert.equal(fixture.service.resolve(name).id, other.id);
  await assert.rejects(
    fixture.service.pull({ name, tag: "latest", platform: "linux/riscv64", report: () => {} }),
    (error) =>
      isBerthError(error, "not-found") &&
      error.message === "no matching manifest for linux/riscv64 in the manifest list entries",
  );
});

test("pulls by digest: no tag, only the digest", async (t) => {
  const { fixture, registry } = await setUp(t);
  const { manifest } = registry.publish("thing", "latest", image(layer("a")));
  const name = `${registry.host}/thing@${manifest.digest}`;
  const { report, messages } = collector();
  await fixture.service.pull({ name, tag: "", platform: "", report });
  const shown = await fixture.service.inspect(name);
  assert.deepEqual([shown.RepoTags, shown.RepoDigests], [[], [name]]);
  assert.equal(messages.at(-1)?.status, `Status: Downloaded newer image for ${name}`);
  await fixture.service.pull({ name: `${registry.host}/thing`, tag: manifest.digest, platform: "", report });
  assert.equal(messages.at(-1)?.status, `Status: Image is up to date for ${name}`);
});

test("a mirror serves the hub's images", async (t) => {
  const registry = await FakeRegistry.start(t);
  const built = image(layer("a"));
  registry.publish("library/thing", "latest", built);
  const fixture = await imageFixture(t, { registryMirrors: [`http://${registry.host}/`] });
  await fixture.service.pull({ name: "thing", tag: "", platform: "", report: () => {} });
  assert.equal(fixture.service.resolve("docker.io/library/thing").id, built.id);
});

test("two layers with the same blob", async (t) => {
  const { fixture, registry } = await setUp(t);
  const same = layer("a");
  const built = image(same, same, same);
  registry.publish("thing", "latest", built);
  await fixture.service.pull({ name: `${registry.host}/thing`, tag: "", platform: "", report: () => {} });
  assert.equal(fixture.storage.list().length, 3);
  assert.deepEqual(readdirSync(join(fixture.root, "image", "blobs", "sha256")), []);
});

test("a registry with a certificate nobody knows: on loopback that is enough", async (t) => {
  const { fixture, registry } = await setUp(t);
  const built = image(layer("a"));
  registry.publish("thing", "latest", built);
  const directory = fixture.root;
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=nobody", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"],
    ],
    { cwd: directory, stdio: "ignore" },
  );
  const key = readFileSync(join(directory, "key.pem"));
  const host = await registry.listenSecurely(t, { key, cert: readFileSync(join(directory, "cert.pem")) });
  await fixture.service.pull({ name: `${host}/thing`, tag: "", platform: "", report: () => {} });
  assert.equal(fixture.service.count(), 1);
  // Where verification is asked for, the certificate counts.
  await assert.rejects(
    exchange({
      method: "GET",
      url: `https://${host}/v2/`,
      headers: {},
      transport: makeTransport({ insecure: false, proxy: noProxy }),
    }),
    /tls: failed to verify certificate: x509: certificate signed by unknown authority/,
  );
  closeConnections();
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
