/**
 * Images through the real parts: Debian's registry, skopeo's archives, overlay2 and the unpacking threads. Needs root.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { type BuiltImage, buildImage, buildTar, dockerArchive } from "#images/archive-build.ts";
import { createImageService, imageMigrations } from "#images/image-service.ts";
import type { ImageService } from "#images/image-types.ts";
import { hostPlatform } from "#images/platform.ts";
import { Database } from "#state/database.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { createOverlay2Driver } from "#storage/overlay2/overlay2-driver.ts";
import { createLayerUnpacker } from "#storage/unpack/layer-unpacker.ts";
import { builtBusybox, busyboxArchive } from "#test/fixtures/busybox-image.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

let registry: TestRegistry;

before(async () => {
  registry = await TestRegistry.start();
});

after(async () => {
  await registry.stop();
});

interface Images {
  root: string;
  service: ImageService;
  storage: StorageDriver;
  pull(name: string): Promise<void>;
  /** The image's files as a container would see them first, by path inside. */
  file(reference: string, path: string): Promise<string>;
  /** As when the daemon ends; also done at the end of the test. */
  close(): Promise<void>;
}

function once(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= action();
    return done;
  };
}

/** A service on overlay2 in a directory of its own, or in `root`. */
async function images(t: TestContext, root = mkdtempSync(join(tmpdir(), "berth-images-"))): Promise<Images> {
  const storage = createOverlay2Driver({ dataRoot: root });
  const unpacker = createLayerUnpacker();
  const database = Database.open(join(root, "state.db"), [imageMigrations]);
  const service = createImageService({
    database,
    storage,
    unpacker,
    options: {
      dataRoot: root,
      insecureRegistries: [],
      registryMirrors: [],
      maxConcurrentDownloads: 3,
      maxDownloadAttempts: 2,
      maxConcurrentUploads: 5,
    },
    onEvent: () => {},
    retryDelay: () => 1,
  });
  await service.start();
  const close = once(async () => {
    await service.stop();
    await unpacker.close();
    await storage.close();
    database[Symbol.dispose]();
  });
  t.after(async () => {
    await close();
    rmSync(root, { recursive: true, force: true });
  });
  const pull = (name: string) =>
    service.pull({ name: `${registry.host}/${name}`, tag: "", platform: "", report: () => {} });
  const file = async (reference: string, path: string) => {
    const directories = await storage.layerDirectories(service.resolve(reference).topLayer ?? "");
    const found = directories.map((directory) => join(directory, path)).find(existsSync);
    assert.ok(found !== undefined, `${path} is in no layer`);
    return found;
  };
  return { root, service, storage, pull, file, close };
}

/** Layer directories there are; removal in the background has renamed them away already. */
function layers(root: string): string[] {
  return readdirSync(join(root, "overlay2")).filter((name) => /^[0-9a-f]{64}$/.test(name));
}

function assertNothingLeft({ root, service }: Images): void {
  assert.deepEqual(layers(root), []);
  for (const directory of ["partial", "blobs/sha256", "tmp"]) {
    const path = join(root, "image", directory);
    assert.deepEqual(existsSync(path) ? readdirSync(path) : [], []);
  }
  assert.equal(service.count(), 0);
  assert.equal(service.cacheIds().size, 0);
}

function threeLayers(): BuiltImage {
  return buildImage(
    [
      buildTar([
        { type: "directory", name: "etc" },
        { type: "file", name: "etc/kept", content: "1" },
        { type: "file", name: "etc/gone", content: "2" },
      ]),
      buildTar([
        { type: "file", name: "etc/.wh.gone" },
        { type: "symlink", name: "link", linkName: "/etc/kept" },
      ]),
      buildTar([
        { type: "file", name: "big", content: Buffer.alloc(2 << 20, "x"), mode: 0o4755, uid: 7, gid: 8 },
      ]),
    ],
    { architecture: hostPlatform().architecture, os: "linux", config: {}, created: "2024-01-01T00:00:00Z" },
  );
}

test("pulls busybox from a real registry", async (t) => {
  const host = await images(t);
  const built = await builtBusybox();
  const { manifest } = await registry.push("busybox", "latest", built);
  await host.pull("busybox");
  const name = `${registry.host}/busybox`;
  const shown = await host.service.inspect(name);
  assert.equal(shown.Id, built.id);
  assert.deepEqual(shown.RepoTags, [`${name}:latest`]);
  assert.deepEqual(shown.RepoDigests, [`${name}@${manifest.digest}`]);
  assert.match(shown.GraphDriver.Data?.UpperDir ?? "", /overlay2\/[0-9a-f]{64}\/diff$/);
  assert.equal(readFileSync(await host.file(name, "bin/busybox")).equals(readFileSync("/bin/busybox")), true);
  assert.equal(statSync(await host.file(name, "tmp")).mode & 0o7777, 0o1777);
  assert.equal(
    statSync(await host.file(name, "bin/sh")).ino,
    statSync(await host.file(name, "bin/busybox")).ino,
  );
  assert.equal(
    execFileSync("chroot", [await host.file(name, "."), "/bin/sh", "-c", "id -un"]).toString(),
    "root\n",
  );
});

for (const compression of ["gzip", "zstd", "none"] as const) {
  test(`layers as overlay has them: oci, ${compression}`, async (t) => {
    const host = await images(t);
    const built = threeLayers();
    await registry.push(`three-${compression}`, "latest", built, { format: "oci", compression });
    await host.pull(`three-${compression}`);
    const directories = await host.storage.layerDirectories(host.service.resolve(built.id).topLayer ?? "");
    assert.equal(directories.length, 3);
    const [top = "", middle = "", lowest = ""] = directories;
    assert.equal(readFileSync(join(lowest, "etc/gone"), "utf8"), "2");
    assert.ok(statSync(join(middle, "etc/gone")).isCharacterDevice());
    const big = statSync(join(top, "big"));
    assert.deepEqual([big.size, big.mode & 0o7777, big.uid, big.gid], [2 << 20, 0o4755, 7, 8]);
    // Two files of one byte, and what the link says.
    assert.equal(host.service.resolve(built.id).size, (2 << 20) + 2 + "/etc/kept".length);
  });
}

test("several clients pull at once: one image, each layer once", async (t) => {
  const host = await images(t);
  await registry.push("shared", "latest", threeLayers());
  await Promise.all(Array.from({ length: 5 }, () => host.pull("shared")));
  assert.equal(layers(host.root).length, 3);
  assert.equal(host.service.count(), 1);
});

test("a tag that does not exist, a repository that does not", async (t) => {
  const host = await images(t);
  await registry.push("known", "latest", threeLayers());
  await assert.rejects(host.pull("known:nope"), {
    code: "not-found",
    message: `manifest for ${registry.host}/known:nope not found: manifest unknown: manifest unknown`,
  });
  await assert.rejects(host.pull("unknown"), { code: "not-found", message: /not found: / });
  assertNothingLeft(host);
});

test("a layer damaged, cut short or lost in the registry", async (t) => {
  const host = await images(t);
  const damage: [string, (path: string) => void][] = [
    ["damaged", (path) => writeFileSync(path, flipped(readFileSync(path)))],
    ["cut", (path) => writeFileSync(path, readFileSync(path).subarray(0, 1000))],
    ["lost", (path) => rmSync(path)],
  ];
  for (const [name, spoil] of damage) {
    const built = threeLayers();
    built.layers[0] = buildTar([{ type: "file", name, content: name }]);
    const document = JSON.parse(built.config.toString());
    const image = buildImage(built.layers, { architecture: document.architecture, os: "linux" });
    const pushed = await registry.push(name, "latest", image);
    // The large one, so that the others are there when it fails.
    const path = registry.blobPath(pushed.layers[2]?.digest ?? "");
    const good = readFileSync(path);
    spoil(path);
    await assert.rejects(host.pull(name), { name: "BerthError", code: "internal" }, name);
    assertNothingLeft(host);
    writeFileSync(path, good);
  }
});

test("a layer whose paths lead out of its root", async (t) => {
  const host = await images(t);
  const outside = join(host.root, "outside");
  mkdirSync(outside);
  const up = "../".repeat(30);
  const hostile = [
    buildTar([{ type: "file", name: `${up}${outside}/a`, content: "x" }]),
    buildTar([{ type: "file", name: `${outside}/b`, content: "x" }]),
    buildTar([
      { type: "symlink", name: "out", linkName: outside },
      { type: "file", name: "out/c", content: "x" },
    ]),
    buildTar([
      { type: "symlink", name: "up", linkName: `${up}${outside}` },
      { type: "directory", name: "up/d" },
      { type: "file", name: ".wh.up/../../../x" },
    ]),
    buildTar([{ type: "hardlink", name: "hard", linkName: `${up}${join(host.root, "state.db")}` }]),
  ];
  for (const [index, layer] of hostile.entries()) {
    const image = buildImage([layer], { architecture: hostPlatform().architecture, os: "linux" });
    await registry.push(`hostile-${index}`, "latest", image);
    // Refused or contained: both are right, as long as nothing outside changes.
    const refused = await host.pull(`hostile-${index}`).then(
      () => false,
      (error) => {
        assert.equal(error.name, "BerthError");
        return true;
      },
    );
    assert.deepEqual(readdirSync(outside), [], `layer ${index}`);
    assert.equal(statSync(join(host.root, "state.db")).nlink, 1);
    if (!refused) await host.service.remove(image.id, { force: true, noPrune: false, inUse: () => [] });
    assertNothingLeft(host);
  }
});

test("a full disk", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "berth-images-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", root]);
  let host: Images | undefined;
  t.after(async () => {
    await host?.close();
    execFileSync("umount", [root]);
    rmSync(root, { recursive: true, force: true });
  });
  host = await images(t, root);
  const large = (size: number, fill: string) =>
    buildImage([buildTar([{ type: "file", name: "f", content: Buffer.alloc(size, fill) }])], {
      architecture: hostPlatform().architecture,
      os: "linux",
    });
  // The first does not fit as a download, the second only when it is unpacked.
  await registry.push("full-blob", "latest", large(20 << 20, "a"), { format: "oci", compression: "none" });
  await registry.push("full-layer", "latest", large(20 << 20, "b"));
  for (const name of ["full-blob", "full-layer"]) {
    await assert.rejects(host.pull(name), { code: "no-space", message: /no space left on device/ }, name);
    assertNothingLeft(host);
  }
  const archive = join(tmpdir(), `berth-images-full-${process.pid}.tar`);
  t.after(() => rmSync(archive, { force: true }));
  writeFileSync(archive, dockerArchive([{ image: large(20 << 20, "c"), tags: [] }]));
  await assert.rejects(host.service.load(createReadStream(archive), { quiet: true, report: () => {} }), {
    code: "no-space",
  });
  assertNothingLeft(host);
  // And it still works afterwards.
  await registry.push("fits", "latest", large(1 << 20, "d"));
  await host.pull("fits");
  assert.equal(host.service.count(), 1);
});

for (const format of ["docker-archive", "oci-archive"] as const) {
  test(`loads what skopeo writes: ${format}`, async (t) => {
    const host = await images(t);
    const source = await busyboxArchive(host.root);
    const archive = join(host.root, `${format}.tar`);
    execFileSync("skopeo", [
      "--insecure-policy",
      "copy",
      "--quiet",
      `docker-archive:${source}`,
      `${format}:${archive}:berth/copy:1`,
    ]);
    await host.service.load(createReadStream(archive), { quiet: true, report: () => {} });
    const image = await host.service.inspect("berth/copy:1");
    assert.deepEqual(image.Config?.Cmd, ["sh"]);
    assert.equal(statSync(await host.file("berth/copy:1", "bin/busybox")).mode & 0o7777, 0o755);
  });
}

test("skopeo can read what was pushed, so the fixture itself is right", async () => {
  const pushed = await registry.push("checked", "1", threeLayers());
  const shown = JSON.parse(
    execFileSync("skopeo", [
      "inspect",
      "--tls-verify=false",
      `docker://${registry.host}/checked:1`,
    ]).toString(),
  );
  assert.equal(shown.Digest, pushed.manifest.digest);
});

test("a new daemon finds the images of the old one", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "berth-images-"));
  const first = await images(t, root);
  await first.service.load(createReadStream(await busyboxArchive(root)), { quiet: true, report: () => {} });
  const { id, topLayer } = first.service.resolve("berth/busybox");
  await first.close();
  const second = await images(t, root);
  await second.storage.reconcile(second.service.cacheIds());
  assert.deepEqual(
    [second.service.resolve("berth/busybox").id, second.service.resolve(id).topLayer],
    [id, topLayer],
  );
  assert.ok(existsSync(await second.file(id, "bin/sh")));
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 0xff;
  return copy;
}
