import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createOverlay2Driver } from "#storage/overlay2/overlay2-driver.ts";

const options = process.getuid?.() === 0 ? {} : { skip: "needs root" };
const id = (letter: string) => letter.repeat(64);
const spares = (home: string) => readdirSync(home).filter((name) => name.startsWith(".spare-"));
const inode = (path: string) => statSync(path).ino;

async function withHome(work: (home: string, dataRoot: string) => Promise<void>): Promise<void> {
  const dataRoot = mkdtempSync(join(tmpdir(), "berth-spares-"));
  try {
    await work(join(dataRoot, "overlay2"), dataRoot);
  } finally {
    rmSync(dataRoot, { recursive: true, force: true });
  }
}

test("an init layer goes on to the next container of the same image and owner", options, () =>
  withHome(async (home, dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    await driver.create(id("a"), undefined);
    await driver.createWritable(id("c"), id("a"), {});
    const first = inode(join(home, `${id("c")}-init`, "diff"));
    await driver.remove(id("c"));
    assert.equal(spares(home).length, 1);
    assert.deepEqual(readdirSync(join(home, "l")).length, 1, "only the image's short name is left");

    await driver.createWritable(id("d"), id("a"), { uid: 7, gid: 7 });
    assert.notEqual(inode(join(home, `${id("d")}-init`, "diff")), first, "another owner's");
    await driver.createWritable(id("e"), id("a"), {});
    assert.equal(inode(join(home, `${id("e")}-init`, "diff")), first);
    assert.deepEqual(spares(home), []);
    // It is found by its short name, as one that was made anew.
    const link = readFileSync(join(home, `${id("e")}-init`, "link"), "utf8");
    assert.equal(inode(join(home, "l", link)), first);
    const [own, init] = await driver.layerDirectories(id("e"));
    assert.equal(own, join(home, id("e"), "diff"));
    assert.equal(init, join(home, `${id("e")}-init`, "diff"));
    await driver.close();
  }),
);

test("spare init layers go with their image, and with the daemon", options, () =>
  withHome(async (home, dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    await driver.create(id("a"), undefined);
    await driver.create(id("b"), undefined);
    await driver.createWritable(id("c"), id("a"), {});
    await driver.createWritable(id("d"), id("b"), {});
    await driver.remove(id("c"));
    await driver.remove(id("d"));
    assert.equal(spares(home).length, 2);
    await driver.remove(id("a"));
    assert.equal(spares(home).length, 1);
    await driver.close();

    const next = createOverlay2Driver({ dataRoot });
    await next.reconcile(new Set([id("b")]));
    await next.settled();
    assert.deepEqual(readdirSync(home).sort(), [id("b"), "l"].sort());
    assert.equal(readdirSync(join(home, "l")).length, 1);
    await next.close();
  }),
);

test("one that somebody has deleted is made anew", options, () =>
  withHome(async (home, dataRoot) => {
    const driver = createOverlay2Driver({ dataRoot });
    await driver.create(id("a"), undefined);
    await driver.createWritable(id("c"), id("a"), {});
    await driver.remove(id("c"));
    for (const name of spares(home)) rmSync(join(home, name), { recursive: true });
    await driver.createWritable(id("d"), id("a"), {});
    assert.ok(readdirSync(join(home, `${id("d")}-init`, "diff")).includes("etc"));
    assert.equal(readdirSync(join(home, "l")).length, 3);
    await driver.close();
  }),
);
