/**
 * A disk that fills up in the middle of a pull, load or import: a clear error, nothing half there, and what was there goes on
 * working. Things are removed from a full disk as from any other. The data root is a small tmpfs.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import { type BuiltImage, buildImage, buildTar, dockerArchive } from "#images/archive-build.ts";
import { checkLayers, checkNothingHalfMade, inventory } from "#test/chaos/data-root.ts";
import { KnownImages, seededRandom } from "#test/chaos/known-images.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const megabyte = 1 << 20;

let daemon: TestDaemon;
let registry: TestRegistry;
let known: KnownImages;
let large: BuiltImage;
let mounted = false;

before(async () => {
  known = await KnownImages.make(seededRandom(1));
  large = buildImage(
    ["lower", "upper"].map((name) => {
      const files = Array.from({ length: 24 }, (_, index) => ({
        type: "file" as const,
        name: `${name}/${index}`,
        // Compresses well: the download fits where the layer does not.
        content: Buffer.alloc(megabyte, `${name}${index}`),
      }));
      return buildTar([{ type: "directory", name }, ...files]);
    }),
    { architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux", config: {} },
  );
  registry = await TestRegistry.start();
  await registry.push("large", "1", large);
  for (const { name, image } of known.images) await registry.push(name.split(":")[0] ?? "", "1", image);
  daemon = new TestDaemon({ subnet: 9 });
  mkdirSync(daemon.dataRoot, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=32m,mode=0710", "tmpfs", daemon.dataRoot]);
  mounted = true;
  await daemon.boot();
});
after(async () => {
  const dataRoot = daemon?.dataRoot ?? "";
  try {
    // What a test left on it must not keep the daemon from its own end.
    rmSync(join(dataRoot, "ballast"), { force: true });
    if (mounted) execFileSync("umount", ["-l", dataRoot]);
  } finally {
    await daemon?.stop();
    await registry?.stop();
  }
});

async function get<T>(path: string): Promise<T> {
  const { status, body } = await daemon.api("GET", path);
  assert.equal(status, 200, `${path}: ${body}`);
  return JSON.parse(body) as T;
}

/** Leaves so many bytes free; removed by removing the file. */
function fill(free: number): void {
  const path = join(daemon.dataRoot, "ballast");
  for (;;) {
    rmSync(path, { force: true });
    const { bavail, bsize } = statfsSync(daemon.dataRoot);
    try {
      writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - free)));
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      // The daemon wrote in between. The disk is as full as it can be; for anything else it is measured again.
      if (free === 0) return;
    }
  }
}

async function checkEverything(): Promise<void> {
  for (const { Id } of await get<ImageSummary[]>("/images/json?all=1")) {
    checkLayers(await get<ImageInspect>(`/images/${Id}/json`), (diffId) => known.contentOf(diffId));
  }
  await eventually(() => checkNothingHalfMade(daemon.dataRoot, []));
}

const noSpace = /no space left on device/;

test("a pull whose layer does not fit", async () => {
  daemon.dockerWith({ input: known.images[0]?.archive ?? "" }, "load", "-q");
  const before = inventory(daemon.dataRoot);
  const pulled = await daemon.dockerAsync("pull", `${registry.host}/large:1`);
  assert.equal(pulled.code, 1, pulled.stdout);
  assert.match(pulled.stderr, noSpace);
  await checkEverything();
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), before));
});

test("an archive whose layers do not fit; one whose layers fit, though not with the archive beside them", async () => {
  const before = inventory(daemon.dataRoot);
  const archive = dockerArchive([{ image: large, tags: ["large:1"] }]);
  const loaded = daemon.dockerWith({ input: archive }, "load");
  assert.equal(loaded.code, 1, loaded.stdout);
  assert.match(loaded.stderr, noSpace);
  await checkEverything();
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), before));
  const two = buildImage(large.layers.slice(0, 1), { os: "linux", architecture: "amd64", config: {} });
  const half = daemon.dockerWith({ input: dockerArchive([{ image: two, tags: ["half:1"] }]) }, "load");
  assert.equal(half.code, 0, half.stderr);
  assert.equal(daemon.docker("rmi", "half:1").code, 0);
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), before));
});

test("a root file system that does not fit", async () => {
  const before = inventory(daemon.dataRoot);
  const imported = daemon.dockerWith({ input: large.layers[0] ?? "" }, "import", "-", "large:1");
  assert.equal(imported.code, 1, imported.stdout);
  assert.match(imported.stderr, noSpace);
  await checkEverything();
  await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), before));
});

test("at every amount of space left, a pull and a load work or leave nothing", async () => {
  const two = known.images[1];
  assert.ok(two !== undefined);
  for (let free = 0; free <= 2 * megabyte; free += 128 << 10) {
    fill(free);
    const before = inventory(daemon.dataRoot);
    const doing = free % (256 << 10) === 0;
    const ran = doing
      ? await daemon.dockerAsync("pull", "-q", `${registry.host}/${two.name}`)
      : daemon.dockerWith({ input: two.archive }, "load", "-q");
    if (ran.code === 0) {
      await checkEverything();
      assert.equal(daemon.docker("rmi", doing ? `${registry.host}/${two.name}` : two.name).code, 0);
    } else {
      assert.match(ran.stderr, noSpace, `${free} bytes free: ${ran.code} ${ran.stderr}\n${daemon.log()}`);
      await checkEverything();
    }
    await eventually(() => assert.deepEqual(inventory(daemon.dataRoot), before));
  }
  rmSync(join(daemon.dataRoot, "ballast"));
});

test("on a full disk images can be looked at and removed, and then there is space", async () => {
  rmSync(join(daemon.dataRoot, "ballast"), { force: true });
  daemon.dockerWith({ input: known.images[3]?.archive ?? "" }, "load", "-q");
  fill(0);
  assert.match(daemon.docker("tag", "four:1", "four:2").stderr, /^(.*no space left on device.*)?$/s);
  assert.equal(daemon.docker("image", "inspect", "four:1").code, 0);
  const removed = daemon.docker("rmi", "-f", "four:1", "one:1");
  assert.equal(removed.code, 0, removed.stderr);
  const { bavail, bsize } = statfsSync(daemon.dataRoot);
  await eventually(() => assert.ok(statfsSync(daemon.dataRoot).bavail * bsize >= bavail * bsize));
  const pruned = daemon.docker("image", "prune", "-af");
  assert.equal(pruned.code, 0, pruned.stderr);
  assert.deepEqual(await get("/images/json?all=1"), []);
  rmSync(join(daemon.dataRoot, "ballast"));
  const loaded = daemon.dockerWith({ input: known.images[3]?.archive ?? "" }, "load", "-q");
  assert.equal(loaded.code, 0, loaded.stderr);
  await checkEverything();
});

test("a daemon that starts on a full disk says what is wrong, or works", async () => {
  fill(0);
  await daemon.kill();
  const booted = await daemon.boot().then(
    () => "works",
    (error: Error) => error.message,
  );
  if (booted !== "works") assert.match(booted, /no space|full/i);
  rmSync(join(daemon.dataRoot, "ballast"));
  if (booted !== "works") await daemon.boot();
  await checkEverything();
});
