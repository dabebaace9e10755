import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { buildTar, dockerArchive, type NewEntry } from "./archive-build.ts";
import { digestOf, hexOf, shortId } from "./digest.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { collector, type Fixture, imageFixture } from "./testing/temporary.ts";

function stream(bytes: Buffer, pieceSize = 10_000): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceSize) pieces.push(bytes.subarray(at, at + pieceSize));
  return Readable.from(pieces);
}

async function load({ service }: Fixture, archive: Buffer, pieceSize?: number) {
  const { report, messages } = collector();
  await service.load(stream(archive, pieceSize), { quiet: false, report });
  return messages;
}

function assertNothingLeft({ root, storage, database }: Fixture): void {
  assert.deepEqual(storage.list(), []);
  assert.deepEqual(readdirSync(join(root, "image", "tmp")), []);
  assert.deepEqual(database.all("SELECT * FROM image_layer"), []);
}

const built = testImage([fileLayer("a"), fileLayer("b")]);

for (const [kind, pack] of [
  ["plain", (bytes: Buffer) => bytes],
  ["gzip", gzipSync],
  ["zstd", zstdCompressSync],
] as const) {
  test(`loads a docker-archive: ${kind}, in pieces of any size`, async (t) => {
    for (const pieceSize of [1, 511, 100_000]) {
      const fixture = await imageFixture(t);
      const archive = pack(dockerArchive([{ image: built, tags: ["berth/x:1", "berth/x:2"] }]));
      const messages = await load(fixture, archive, pieceSize);
      assert.equal(fixture.service.resolve("berth/x:2").id, built.id);
      assert.deepEqual(messages.slice(-2), [
        { stream: "Loaded image: berth/x:1\n" },
        { stream: "Loaded image: berth/x:2\n" },
      ]);
      const first = shortId(digestOf(built.layers[0] ?? ""));
      assert.ok(messages.some(({ status, id }) => status === "Loading layer" && id === first));
      assert.deepEqual(readdirSync(join(fixture.root, "image", "tmp")), []);
      assert.deepEqual(fixture.events, [`load ${built.id}`]);
    }
  });
}

/** An OCI layout of `built`, with the given annotations at its manifest. */
function ociLayout(
  annotations: Record<string, string>,
  change: (entries: Map<string, NewEntry>) => void = () => {},
) {
  const entries = new Map<string, NewEntry>();
  const blob = (content: Buffer, mediaType: string) => {
    const digest = digestOf(content);
    entries.set(digest, { type: "file", name: `blobs/sha256/${hexOf(digest)}`, content });
    return { mediaType, digest, size: content.length };
  };
  const layers = built.layers.map((layer) =>
    blob(gzipSync(layer), "application/vnd.oci.image.layer.v1.tar+gzip"),
  );
  const config = blob(built.config, "application/vnd.oci.image.config.v1+json");
  const type = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, config, layers })),
    type,
  );
  entries.set("index", {
    type: "file",
    name: "index.json",
    content: JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  });
  entries.set("layout", { type: "file", name: "oci-layout", content: '{"imageLayoutVersion":"1.0.0"}' });
  change(entries);
  return buildTar([...entries.values()]);
}

test("loads an OCI layout; names from annotations", async (t) => {
  const named = await imageFixture(t);
  await load(named, ociLayout({ "org.opencontainers.image.ref.name": "berth/y:3" }));
  assert.equal(named.service.resolve("berth/y:3").id, built.id);
  const nameless = await imageFixture(t);
  const messages = await load(nameless, ociLayout({ "org.opencontainers.image.ref.name": "latest" }));
  assert.deepEqual(messages.at(-1), { stream: `Loaded image ID: ${built.id}\n` });
  assert.equal(nameless.service.resolve(built.id).id, built.id);
});

test("an OCI layout whose blob has another content", async (t) => {
  const fixture = await imageFixture(t);
  const archive = ociLayout({}, (entries) => {
    const config = entries.get(built.id);
    if (config !== undefined) config.content = Buffer.from("{}");
  });
  await assert.rejects(load(fixture, archive), { code: "invalid", message: /has another content/ });
  assertNothingLeft(fixture);
});

test("layers that are links inside the archive are followed", async (t) => {
  const fixture = await imageFixture(t);
  const archive = buildTar([
    { type: "file", name: "real/layer.tar", content: built.layers[0] ?? "" },
    { type: "directory", name: "one" },
    { type: "symlink", name: "one/layer.tar", linkName: "../real/layer.tar" },
    { type: "hardlink", name: "two.tar", linkName: "./second" },
    { type: "file", name: "second", content: built.layers[1] ?? "" },
    { type: "file", name: "c.json", content: built.config },
    {
      type: "file",
      name: "./manifest.json",
      content: JSON.stringify([{ Config: "c.json", RepoTags: null, Layers: ["one/layer.tar", "two.tar"] }]),
    },
  ]);
  await load(fixture, archive);
  assert.equal(fixture.service.resolve(built.id).id, built.id);
});

test("a tag that another image had moves, and the user is told", async (t) => {
  const fixture = await imageFixture(t);
  const other = testImage([fileLayer("c")]);
  await load(fixture, dockerArchive([{ image: other, tags: ["x:1"] }]));
  const messages = await load(fixture, dockerArchive([{ image: built, tags: ["x:1"] }]));
  assert.ok(
    messages.some(
      (message) =>
        message.stream ===
        `The image x:1 already exists, renaming the old one with ID ${other.id} to empty string\n`,
    ),
  );
  assert.equal(fixture.service.resolve("x:1").id, built.id);
  assert.deepEqual((await fixture.service.inspect(other.id)).RepoTags, []);
});

test("archives that are wrong: a clear error, nothing left", async (t) => {
  const file = (name: string, content: string | Buffer): NewEntry => ({ type: "file", name, content });
  const good = dockerArchive([{ image: built, tags: ["x:1"] }]);
  const manifest = (value: unknown) => file("manifest.json", JSON.stringify(value));
  const lying = testImage([fileLayer("a")]);
  lying.layers[0] = fileLayer("other");
  const cases: [string, Buffer, RegExp][] = [
    ["empty", Buffer.alloc(0), /does not contain a manifest.json/],
    ["no archive", Buffer.from("hello ".repeat(500)), /malformed tar archive/],
    ["truncated", good.subarray(0, 3000), /truncated/],
    ["truncated gzip", gzipSync(good).subarray(0, 300), /invalid archive: /],
    ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2]), /compression xz is not supported/],
    ["no manifest", buildTar([file("x", "y")]), /does not contain a manifest.json/],
    ["manifest no JSON", buildTar([file("manifest.json", "{")]), /manifest.json is not JSON/],
    ["manifest no list", buildTar([manifest({})]), /not a list/],
    ["no configuration", buildTar([manifest([{ Config: "c" }])]), /c is missing/],
    [
      "wrong tag",
      buildTar([manifest([{ Config: "c", RepoTags: ["X"] }]), file("c", built.config)]),
      /lowercase/,
    ],
    [
      "layer missing",
      buildTar([manifest([{ Config: "c", Layers: ["l"] }]), file("c", built.config)]),
      /l is missing/,
    ],
    [
      "too few layers",
      buildTar([manifest([{ Config: "c", Layers: [] }]), file("c", built.config)]),
      /expected 2, got 0/,
    ],
    ["path out", buildTar([file("../../etc/x", "y")]), /leads out of the archive/],
    ["link out", buildTar([{ type: "symlink", name: "l", linkName: "../../etc/passwd" }]), /leads out/],
    [
      "link to the host",
      buildTar([{ type: "symlink", name: "manifest.json", linkName: "/etc/passwd" }]),
      /does not contain/,
    ],
    [
      "device",
      buildTar([{ type: "character-device", name: "d", major: 1, minor: 3 }]),
      /unexpected character-device/,
    ],
    ["huge manifest", buildTar([file("manifest.json", Buffer.alloc(5 << 20, " "))]), /larger than/],
    [
      "wrong diff id",
      dockerArchive([{ image: lying, tags: [] }]),
      /failed to register layer: layer has diff id/,
    ],
    [
      "configuration no JSON",
      buildTar([manifest([{ Config: "c", Layers: [] }]), file("c", "nope")]),
      /invalid image configuration of .*: not JSON/,
    ],
  ];
  for (const [what, archive, message] of cases) {
    const fixture = await imageFixture(t);
    await assert.rejects(load(fixture, archive), { name: "BerthError", message }, what);
    assertNothingLeft(fixture);
  }
});

test("imports a root file system with changes", async (t) => {
  const fixture = await imageFixture(t);
  const id = await fixture.service.importArchive(stream(gzipSync(fileLayer("root-file"))), {
    reference: "berth/rootfs",
    message: "by hand",
    changes: ["CMD /bin/sh", "ENV A=1"],
    platform: "",
    report: () => {},
  });
  const image = await fixture.service.inspect("berth/rootfs:latest");
  assert.equal(image.Id, id);
  assert.deepEqual(image.Config, { Cmd: ["/bin/sh", "-c", "/bin/sh"], Env: ["A=1"] });
  assert.equal(image.Comment, "by hand");
  assert.deepEqual(image.RootFS.Layers, [digestOf(fileLayer("root-file"))]);
  // The same content again shares the layer.
  const again = await fixture.service.importArchive(stream(fileLayer("root-file")), {
    reference: undefined,
    message: "",
    changes: [],
    platform: "linux/arm64",
    report: () => {},
  });
  assert.notEqual(again, id);
  assert.equal(fixture.storage.list().length, 1);
});

test("an import that fails leaves nothing", async (t) => {
  const fixture = await imageFixture(t);
  const options = { reference: undefined, message: "", changes: [], platform: "", report: () => {} };
  await assert.rejects(fixture.service.importArchive(stream(Buffer.from("x".repeat(1000))), options), {
    name: "BerthError",
  });
  await assert.rejects(
    fixture.service.importArchive(stream(fileLayer("a")), { ...options, changes: ["RUN x"] }),
    { code: "invalid", message: "run is not a valid change command" },
  );
  const broken = new Readable({
    read() {
      this.push(fileLayer("a").subarray(0, 100));
      this.destroy(new Error("client gone"));
    },
  });
  await assert.rejects(fixture.service.importArchive(broken, options), /client gone/);
  assert.deepEqual(fixture.storage.list(), []);
  assert.deepEqual(fixture.database.all("SELECT * FROM image_layer"), []);
});
