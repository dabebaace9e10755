import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { createOverlay2Driver } from "#storage/overlay2/overlay2-driver.ts";
import { testStorageDriver } from "#test/contracts/storage-driver.ts";

testStorageDriver({ name: "overlay2", open: async (dataRoot) => createOverlay2Driver({ dataRoot }) });

const options = { skip: process.geteuid?.() !== 0 && "needs root" };
const id = (letter: string) => letter.repeat(64);

async function withDriver(use: (dataRoot: string) => Promise<void>): Promise<void> {
  const dataRoot = mkdtempSync(join(tmpdir(), "berth-overlay2-"));
  try {
    await use(dataRoot);
  } finally {
    rmSync(dataRoot, { recursive: true, force: true });
  }
}

test("the layout on disk is Docker's", options, () =>
  withDriver(async (dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    const home = join(dataRoot, "overlay2");
    await driver.create(id("a"), undefined);
    await driver.createWritable(id("c"), id("a"), {});
    assert.deepEqual(readdirSync(home).sort(), [id("a"), id("c"), `${id("c")}-init`, "l"].sort());
    assert.deepEqual(readdirSync(join(home, id("a"))).sort(), ["committed", "diff", "link"]);
    assert.deepEqual(readdirSync(join(home, id("c"))).sort(), ["diff", "link", "lower", "merged", "work"]);
    const link = (layer: string) => readFileSync(join(home, layer, "link"), "utf8");
    assert.match(link(id("a")), /^[A-Z2-7]{26}$/);
    assert.equal(readlinkSync(join(home, "l", link(id("a")))), `../${id("a")}/diff`);
    assert.equal(
      readFileSync(join(home, id("c"), "lower"), "utf8"),
      `l/${link(`${id("c")}-init`)}:l/${link(id("a"))}`,
    );
    assert.equal(statSync(join(home, id("c"))).mode & 0o777, 0o710);
    assert.equal(statSync(join(home, id("c"), "work")).mode & 0o777, 0o700);
    assert.deepEqual(await driver.metadata(id("c")), {
      LowerDir: `${home}/${id("c")}-init/diff:${home}/${id("a")}/diff`,
      MergedDir: `${home}/${id("c")}/merged`,
      UpperDir: `${home}/${id("c")}/diff`,
      WorkDir: `${home}/${id("c")}/work`,
    });
    await driver.remove(id("c"));
    await driver.remove(id("a"));
    await driver.close();
    assert.deepEqual(readdirSync(home), ["l"]);
    assert.deepEqual(readdirSync(join(home, "l")), []);
  }),
);

test("what a crash left half-made does not count, and goes", options, () =>
  withDriver(async (dataRoot) => {
    const home = join(dataRoot, "overlay2");
    const first = createOverlay2Driver({ dataRoot });
    await first.create(id("a"), undefined);
    await first.close();
    mkdirSync(join(home, `.new-${id("b")}`, "diff"), { recursive: true });
    mkdirSync(join(home, ".gone-1234", "diff", "deep"), { recursive: true });
    symlinkSync(`../${id("b")}/diff`, join(home, "l", "B".repeat(26)));
    symlinkSync("/etc/passwd", join(home, "l", "C".repeat(26)));

    const driver = createOverlay2Driver({ dataRoot });
    assert.equal(await driver.exists(id("b")), false);
    await driver.reconcile(new Set([id("a"), id("b")]));
    await driver.settled();
    assert.deepEqual(readdirSync(home).sort(), [id("a"), "l"].sort());
    assert.equal(readdirSync(join(home, "l")).length, 1);
    await driver.create(id("b"), id("a"));
    assert.equal((await driver.rootfs(id("b"))).kind, "overlay");
    await driver.close();
  }),
);

test("layers can be stacked 128 deep, and no deeper", options, () =>
  withDriver(async (dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    let parent: string | undefined;
    for (let depth = 0; depth <= 128; depth++) {
      await driver.create(`layer-${depth}`, parent);
      parent = `layer-${depth}`;
    }
    await assert.rejects(driver.create("too-deep", parent), (error) => isBerthError(error, "invalid"));
    const plan = await driver.rootfs("layer-128");
    // The options of mount(2) have to fit into a page.
    assert.ok(plan.kind === "overlay" && plan.lower.join(":").length < 3900);
    await driver.close();
  }),
);

test("127 layers below a long data root are all seen", options, () =>
  withDriver(async (short) => {
    const dataRoot = join(
      short,
      ...Array.from({ length: 4 }, () => "a-directory-with-a-long-name".repeat(4)),
    );
    mkdirSync(dataRoot, { recursive: true });
    const driver = createOverlay2Driver({ dataRoot });
    let parent: string | undefined;
    for (let depth = 1; depth <= 127; depth++) {
      const layer = String(depth).padStart(64, "0");
      await driver.create(layer, parent);
      writeFileSync(join(driver.diffPath(layer), `of-${depth}`), "");
      parent = layer;
    }
    await driver.createWritable(id("c"), parent, {});
    const plan = await driver.rootfs(id("c"));
    assert.ok(plan.kind === "overlay");
    assert.equal(plan.lower.length, 128);
    const layers = [`lowerdir=${plan.lower.join(":")}`, `upperdir=${plan.upper}`, `workdir=${plan.work}`];
    const script = 'cd "$1" && mount -t overlay overlay -o "$2" "$3" && ls "$3" | grep -c of-';
    const mountOptions = [...layers, ...plan.options].join(",");
    const args = ["-m", "sh", "-ec", script, "sh", plan.base, mountOptions, plan.merged];
    assert.equal(execFileSync("unshare", args, { encoding: "utf8" }), "127\n");
    await driver.close();
  }),
);

test("docker info's pairs are told", options, () =>
  withDriver(async (dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    assert.deepEqual(
      (await driver.status()).map(([key]) => key),
      ["Backing Filesystem", "Supports d_type", "Using metacopy", "Native Overlay Diff", "userxattr"],
    );
    await driver.close();
  }),
);
