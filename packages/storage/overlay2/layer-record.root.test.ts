/** The small files of overlay2's layers, damaged in every way: put right where others know, else told, others untouched. */
import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { createOverlay2Driver, type Overlay2Driver } from "#storage/overlay2/overlay2-driver.ts";

const roots: string[] = [];
after(() => {
  for (const root of roots) rmSync(root, { recursive: true });
});
const [low, middle, top, container] = ["a", "b", "c", "d"].map((digit) => digit.repeat(64)) as [
  string,
  string,
  string,
  string,
];
let root: string;
let home: string;
let whole: Map<string, { link: string; lower: string }>;

/** Another daemon's driver: it has read nothing yet. */
const open = (): Overlay2Driver => createOverlay2Driver({ dataRoot: root });
const file = (...names: string[]) => join(home, ...names);
const all = [low, middle, top, container, `${container}-init`];
const small = (id: string) => ({
  link: readFileSync(file(id, "link"), "utf8"),
  lower: id === low ? "" : readFileSync(file(id, "lower"), "utf8"),
});

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "berth-record-"));
  roots.push(root);
  home = join(root, "overlay2");
  const driver = open();
  await driver.create(low, undefined);
  await driver.create(middle, low);
  await driver.create(top, middle);
  await driver.createWritable(container, top, {});
  await driver.close();
  whole = new Map(all.map((id) => [id, small(id)]));
});

const damages: [string, (path: string) => void][] = [
  ["empty", (path) => writeFileSync(path, "")],
  ["gone", (path) => unlinkSync(path)],
  ["garbage", (path) => writeFileSync(path, Buffer.from([0, 255, 13, 7]))],
  ["cut short", (path) => writeFileSync(path, readFileSync(path, "utf8").slice(0, 20))],
  ["somebody else's text", (path) => writeFileSync(path, "l/../../etc:l/")],
];
for (const [what, damage] of damages) {
  for (const name of ["link", "lower"] as const) {
    for (const [index, id] of [middle, top, container, `${container}-init`].entries()) {
      test(`${name} of layer ${index} ${what}: as it was`, async () => {
        damage(file(id, name));
        const driver = open();
        await driver.reconcile(new Set(all));
        const plan = await driver.rootfs(container);
        assert.deepEqual(plan.kind === "overlay" && plan.lower.join(":"), whole.get(container)?.lower);
        assert.deepEqual(
          (await driver.layerDirectories(id)).length,
          { [middle]: 2, [top]: 3, [container]: 5 }[id] ?? 4,
        );
        assert.deepEqual(small(id), whole.get(id));
        await driver.close();
      });
    }
  }
}

test("a link that is gone, a file, or leads astray is made again at the start", async () => {
  for (const put of [
    () => undefined,
    (path: string) => writeFileSync(path, "x"),
    (path: string) => mkdirSync(path),
  ]) {
    const link = file("l", whole.get(middle)?.link ?? "");
    unlinkSync(link);
    put(link);
    const driver = open();
    await driver.reconcile(new Set(all));
    assert.equal(readlinkSync(link), `../${middle}/diff`);
    assert.equal((await driver.layerDirectories(container)).length, 5);
    await driver.close();
  }
});

test("what nobody knows is told by the file and what helps, and costs nobody else", async () => {
  await open().create("e".repeat(64), low);
  writeFileSync(file("e".repeat(64), "lower"), "");
  const driver = open();
  await driver.reconcile(new Set([...all, "e".repeat(64)]));
  await assert.rejects(driver.layerDirectories("e".repeat(64)), (error) => {
    assert.ok(isBerthError(error, "internal"));
    assert.equal(error.object, file("e".repeat(64), "lower"));
    assert.match(error.message, /is damaged: .*\/lower cannot be read/);
    return /pull or create them again/.test(error.hint ?? "");
  });
  assert.equal((await driver.layerDirectories(container)).length, 5);
  await assert.rejects(driver.layerDirectories("f".repeat(64)), (error) => isBerthError(error, "not-found"));
  // It can be removed all the same.
  await driver.remove("e".repeat(64));
  assert.equal(await driver.exists("e".repeat(64)), false);
  await driver.close();
});

test("a layer below that vanished under the driver is named, and costs nobody else", async () => {
  const driver = open();
  await driver.reconcile(new Set(all));
  assert.equal((await driver.layerDirectories(container)).length, 5);
  const away = `${file(low, ".")}.away`;
  renameSync(file(low, "."), away);
  for (const ask of [driver.layerDirectories(container), driver.comparison(container)]) {
    await assert.rejects(ask, (error) => {
      assert.ok(isBerthError(error, "internal"));
      assert.ok(error.message.includes(`layer ${low}, which ${container} stands on, is gone`), error.message);
      return /pull or load its image again/.test(error.hint ?? "");
    });
  }
  renameSync(away, file(low, "."));
  assert.equal((await driver.layerDirectories(container)).length, 5);
  await driver.close();
});
