import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { DeviceRows, parseRow } from "#storage/devicemapper/device-rows.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-rows-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const row = (device_id: number) => ({ device_id, size: 1 << 30 });

test("rows are there again, under the names they have by then", async () => {
  const rows = new DeviceRows(directory);
  await rows.put("a", row(rows.nextId()));
  await rows.put("b", { ...row(rows.nextId()), parent: "a" });
  rows.rename("a", "c");
  const again = new DeviceRows(directory);
  assert.deepEqual(again.names().sort(), ["b", "c"]);
  assert.equal(again.get("c")?.device_id, 1);
  assert.equal(again.parentOf("b"), "a");
  assert.equal(again.nextId(), 3);
  again.delete("b");
  assert.deepEqual(readdirSync(directory), ["c"]);
});

test("numbers are not used again", async () => {
  const rows = new DeviceRows(directory);
  await rows.put("a", row(rows.nextId()));
  rows.delete("a");
  assert.equal(rows.nextId(), 2);
  await rows.put("last", row(2 ** 24 - 1));
  const again = new DeviceRows(directory);
  assert.equal(again.nextId(), 1);
  assert.equal(again.nextId(), 2);
});

test("a container stands on its init layer", async () => {
  const rows = new DeviceRows(directory);
  await rows.put("c-init", { ...row(1), parent: "image" });
  await rows.put("c", row(2));
  assert.equal(rows.parentOf("c"), "c-init");
  assert.equal(rows.parentOf("c-init"), "image");
});

test("a damaged row is told of and left as it is", async () => {
  await new DeviceRows(directory).put("a", row(1));
  for (const damaged of ["", "{", "null", "{}", '{"device_id":1}', '{"device_id":-1,"size":512}', "\0\0"]) {
    writeFileSync(join(directory, "b"), damaged);
    assert.throws(() => new DeviceRows(directory), /Error loading device metadata file b$/);
    assert.equal(readFileSync(join(directory, "b"), "utf8"), damaged);
  }
  assert.equal(parseRow('{"device_id":1,"size":512,"parent":3}'), undefined);
});

test("what was on its way to be a row is none", async () => {
  writeFileSync(join(directory, ".partial-a"), "{");
  assert.deepEqual(new DeviceRows(directory).names(), []);
  assert.deepEqual(readdirSync(directory), []);
});
