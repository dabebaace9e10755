/** `docker pull` from Debian's registry by the real command line, and what a registry or an archive can do wrong. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildImage, buildTar } from "#images/archive-build.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { debianImage } from "#test/fixtures/debian-image.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const PLATFORM = { architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux" };

let daemon: TestDaemon;
let registry: TestRegistry;
before(async () => {
  registry = await TestRegistry.start();
  daemon = await TestDaemon.start({ subnet: 6 });
});
after(async () => {
  await daemon.stop();
  await registry.stop();
});

const layers = () => readdirSync(join(daemon.dataRoot, "overlay2")).filter((name) => name !== "l");

test("pull, run, list, remove: nothing is left", async () => {
  await registry.push("busybox", "latest", await builtBusybox());
  const name = `${registry.host}/busybox:latest`;
  const pulled = await daemon.dockerAsync("pull", name);
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.match(pulled.stdout, /Pull complete|Download complete/);
  assert.match(
    pulled.stdout,
    new RegExp(`Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for ${name}`),
  );
  assert.match((await daemon.dockerAsync("pull", name)).stdout, /Status: Image is up to date/);
  assert.equal((await daemon.dockerAsync("run", "--rm", name, "echo", "hello")).stdout, "hello\n");
  assert.match(daemon.docker("images").stdout, new RegExp(`${registry.host}/busybox\\s+latest`));
  const removed = daemon.docker("rmi", name);
  assert.equal(removed.code, 0, removed.stderr);
  assert.match(removed.stdout, /Untagged: [\s\S]*Deleted: sha256/);
  // Their directories go in the background.
  await eventually(() => assert.deepEqual(layers(), []));
});

test("run pulls what isn't there", async () => {
  await registry.push("auto", "1", await builtBusybox());
  const ran = await daemon.dockerAsync("run", "--rm", `${registry.host}/auto:1`, "true");
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /Unable to find image/);
});

test("a Debian of several layers, gzip and zstd, with whiteouts", async () => {
  const image = debianImage();
  assert.ok(image.layers.reduce((sum, layer) => sum + layer.length, 0) > 60e6);
  for (const compression of ["gzip", "zstd"] as const) {
    await registry.push(`debian-${compression}`, "latest", image, { format: "oci", compression });
    const name = `${registry.host}/debian-${compression}`;
    const version = await daemon.dockerAsync("run", "--rm", name, "apt", "--version");
    assert.equal(version.code, 0, version.stderr);
    assert.match(version.stdout, /^apt \d/);
    const look = "cat /layered; ls /var/lib/apt/lists | wc -l; test -e /etc/debian_version || echo gone";
    assert.equal((await daemon.dockerAsync("run", "--rm", name, "sh", "-c", look)).stdout, "top\n0\ngone\n");
  }
});

test("names that are not there, in Docker's words", async () => {
  const unknown = await daemon.dockerAsync("pull", `${registry.host}/nothing`);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /manifest for .*nothing:latest not found|repository does not exist/);
  const dead = await daemon.dockerAsync("pull", "localhost:1/x");
  assert.equal(dead.code, 1);
  assert.match(dead.stderr, /connection refused/);
  assert.match((await daemon.dockerAsync("pull", "Not/Valid")).stderr, /invalid reference format/);
});

test("a corrupted and a truncated layer: a clear error, nothing left", async () => {
  const earlier = new Set(layers());
  for (const damage of ["corrupt", "truncate"] as const) {
    // A layer of its own: one that is there already would not be fetched.
    const layer = buildTar([{ type: "file", name: damage, content: randomBytes(1 << 20) }]);
    const pushed = await registry.push(`bad-${damage}`, "latest", buildImage([layer], PLATFORM));
    const [stored] = pushed.layers;
    assert.ok(stored);
    const path = registry.blobPath(stored.digest);
    const bytes = readFileSync(path);
    if (damage === "corrupt")
      bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 0xff;
    writeFileSync(path, damage === "corrupt" ? bytes : bytes.subarray(0, bytes.length / 2));
    const pulled = await daemon.dockerAsync("pull", `${registry.host}/bad-${damage}`);
    assert.equal(pulled.code, 1, damage);
    assert.notEqual(pulled.stderr.trim(), "");
  }
  // Layers of containers that were removed before may go meanwhile, or be kept as spares; there must be no other.
  await eventually(() =>
    assert.deepEqual(
      layers().filter((id) => !earlier.has(id) && !id.startsWith(".spare-")),
      [],
    ),
  );
  assert.equal(daemon.docker("images", "--format", "{{.Repository}}").stdout.includes("bad-"), false);
});

test("import and load, and an archive whose paths lead out of the root", async () => {
  const inside = join(daemon.directory, "root.tar");
  const outside = join(daemon.directory, "escaped");
  const { execFileSync } = await import("node:child_process");
  writeFileSync(join(daemon.directory, "payload"), "x");
  execFileSync("tar", [
    "-C",
    daemon.directory,
    "-P",
    "--transform",
    `s,payload,../../../../../../../..${outside},`,
    "-cf",
    inside,
    "payload",
  ]);
  const imported = await daemon.dockerAsync("import", inside, "escape:1");
  assert.ok(!existsSync(outside), "the archive wrote outside its root");
  if (imported.code === 0) daemon.docker("rmi", "escape:1");
  const garbage = join(daemon.directory, "garbage.tar");
  writeFileSync(garbage, Buffer.alloc(4096, 0x41));
  assert.notEqual((await daemon.dockerAsync("load", "-i", garbage)).code, 0);
});
